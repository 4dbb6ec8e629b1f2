package fleet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// peak is the most memory that a process ever had, in bytes; 0 when it does not tell.
func peak(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
