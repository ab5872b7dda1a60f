//go:build unix

package gate

import (
	"math"
	"syscall"
)

// descriptors returns how many files and connections the process may have open, or 0 if there
// is no limit.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) > math.MaxInt32 {
		return 0
	}
	return int(l.Cur)
}
