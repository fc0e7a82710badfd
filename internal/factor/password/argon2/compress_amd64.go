//go:build amd64 && !purego

package argon2

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

func compress(out, x, y, temp *block, add bool) {
	if hasAVX2 {
		compressAVX2(out, x, y, temp, add)
		return
	}
	compressGeneric(out, x, y, temp, add)
}

// compressAVX2 does what compressGeneric does.
//
//go:noescape
func compressAVX2(out, x, y, temp *block, add bool)
