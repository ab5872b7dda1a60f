package postgres

import (
	"context"
	"strings"
	"syscall"
)

const (
	tcpUserTimeout = 18     // TCP_USER_TIMEOUT, tcp(7), which package syscall lacks
	unacknowledged = 10_000 // milliseconds
)

// userTimeout bounds how long sent bytes may stay unacknowledged.
func userTimeout(_ context.Context, network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	failed := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, unacknowledged)
	})
	if failed != nil {
		return failed
	}
	return err
}
