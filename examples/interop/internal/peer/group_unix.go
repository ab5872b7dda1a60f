//go:build unix

package peer

import (
	"os/exec"
	"syscall"
)

// group makes a command the first of a group of processes of its own.
func group(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends a started command with all of its group.
func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
