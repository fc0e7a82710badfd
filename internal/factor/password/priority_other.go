//go:build !linux

package password

// lowerPriority does nothing where threads have no priority of their own that Go could set without C.
func lowerPriority() {}
