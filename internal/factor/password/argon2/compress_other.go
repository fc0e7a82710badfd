//go:build !amd64 || purego

package argon2

func compress(out, x, y, temp *block, add bool) { compressGeneric(out, x, y, temp, add) }
