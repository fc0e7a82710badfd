package sqlite

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Network file systems by the numbers that statfs gives (statfs(2)). Those that golang.org/x/sys does not name are
// spelled here.
var networks = map[uint32]string{
	unix.NFS_SUPER_MAGIC:   "NFS",
	unix.SMB_SUPER_MAGIC:   "SMB",
	unix.SMB2_SUPER_MAGIC:  "SMB",
	unix.CIFS_SUPER_MAGIC:  "CIFS",
	unix.V9FS_MAGIC:        "9P",
	unix.FUSE_SUPER_MAGIC:  "FUSE",
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.AFS_FS_MAGIC:      "AFS",
	unix.CEPH_SUPER_MAGIC:  "Ceph",
	unix.CODA_SUPER_MAGIC:  "Coda",
	unix.NCP_SUPER_MAGIC:   "NCP",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
	0x0bd00bd0:             "Lustre",
	0x01161970:             "GFS2",
	0x47504653:             "GPFS",
	0x19830326:             "BeeGFS",
	0xaad7aaea:             "PanFS",
	0x786f4256:             "VirtualBox shared folders",
}

// refuseNetwork refuses a data directory whose locks and shared memory another machine might not see: SQLite's log
// would be torn by two of them, or by one that came back.
func refuseNetwork(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	return refuseKind(dir, uint32(fs.Type))
}

func refuseKind(dir string, kind uint32) error {
	if name, bad := networks[kind]; bad {
		return fmt.Errorf("%s is on a network file system (%s): put GATEHOUSE_DATA on a local disk, or set GATEHOUSE_DATABASE to a PostgreSQL", dir, name)
	}
	return nil
}
