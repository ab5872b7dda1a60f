package transport

import (
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	minBudget = 16 << 20
	maxBudget = 256 << 20
)

// DefaultBudget returns the default of [NewBudget], in bytes: an eighth of the memory that
// the process may use, but at least 16 MiB and at most 256 MiB. The memory is the least of
// GOMEMLIMIT, the limits of the control groups of the process, and the memory of the
// machine, as far as they are known.
func DefaultBudget() int64 {
	limit := min(debug.SetMemoryLimit(-1), groupMemory(), machineMemory())
	return min(max(limit/8, minBudget), maxBudget)
}

// machineMemory returns the memory of a Linux machine, in bytes. Elsewhere it returns the
// largest number.
func machineMemory() int64 {
	info, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n < math.MaxInt64>>10 {
				return n << 10
			}
		}
	}
	return math.MaxInt64
}

// groupMemory returns the least memory limit of the control groups (version 1 and 2) that
// the process is in, in bytes. It returns the largest number if there is no limit.
func groupMemory() int64 {
	limit := int64(math.MaxInt64)
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		switch {
		case f[1] == "memory":
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case f[1] != "":
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			text, err := os.ReadFile(path.Join(root, dir, file))
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n > 0 {
				limit = min(limit, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}
