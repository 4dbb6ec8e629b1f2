package serve

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machineMemory is what the machine has, or what this process's control group may
// use of it, in bytes.
func machineMemory() int64 {
	have := int64(assumedMemory)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		have = int64(info.Totalram) * int64(info.Unit)
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			have = min(have, n)
		}
	}
	return have
}

// assumedMemory is what a machine has that does not tell.
const assumedMemory = 2 << 30
