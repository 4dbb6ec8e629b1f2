package disk

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Free is how many bytes of the file system that holds a file its owner may still
// write; 0 when that cannot be told.
func Free(file string) uint64 {
	var s unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(file), &s); err != nil {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}
