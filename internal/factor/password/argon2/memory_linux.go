package argon2

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate maps memory outside the Go heap, so that it goes back to the system the moment it is freed and does not make
// the collector think that the heap is large. It asks for huge pages, since Argon2 jumps about, and keeps the memory,
// which says something about passwords, out of core dumps. Both are wishes: a kernel that refuses them is fine.
func allocate(n int) ([]block, func()) {
	size := n * int(unsafe.Sizeof(block{}))
	raw, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return make([]block, n), nil
	}
	_ = unix.Madvise(raw, unix.MADV_HUGEPAGE)
	_ = unix.Madvise(raw, unix.MADV_DONTDUMP)
	return unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(raw))), n), func() { _ = unix.Munmap(raw) }
}
