//go:build linux || darwin

package server

import "syscall"

// freeSpace returns the space that is left for this process on the disk of a directory, in
// bytes.
func freeSpace(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
