package sqlite

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNetworkFileSystemsAreRefused(t *testing.T) {
	for kind, want := range map[uint32]string{unix.NFS_SUPER_MAGIC: "NFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.FUSE_SUPER_MAGIC: "FUSE", 0x0bd00bd0: "Lustre"} {
		err := refuseKind("/data", kind)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "GATEHOUSE_DATABASE") {
			t.Errorf("kind %#x: %v, want %s and what to do", kind, err, want)
		}
	}
	for _, kind := range []uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC} {
		if err := refuseKind("/data", kind); err != nil {
			t.Errorf("kind %#x: %v", kind, err)
		}
	}
	if err := refuseNetwork(t.TempDir()); err != nil {
		t.Error(err)
	}
}
