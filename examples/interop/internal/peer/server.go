package peer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"sync"
	"time"
)

// ServerConfig describes a program that serves on sockets of its own.
type ServerConfig struct {
	Path  string         // the executable
	Args  []string       // its arguments
	Env   []string       // its environment, that of this process if nil
	Ready *regexp.Regexp // the line that it prints, to either output, once it serves
}

// Server is a running program with sockets of its own. Its standard input is empty, and is
// closed when this process ends. Close ends the program, with the processes that it has
// started.
type Server struct {
	cmd   *exec.Cmd
	lines *io.PipeReader
	last  *tail
	once  sync.Once
	ended chan error // what Wait returned
}

// Serve starts a program, and returns when the program has printed the line of Ready. The
// error matches ErrFailed if the program ended, or if ctx ended before that line. The error
// has the last output of the program.
func Serve(ctx context.Context, cfg ServerConfig) (*Server, error) {
	lines, out := io.Pipe()
	s := &Server{cmd: exec.Command(cfg.Path, cfg.Args...), lines: lines, last: &tail{}, ended: make(chan error, 1)}
	s.cmd.Env = cfg.Env
	s.cmd.WaitDelay = time.Second
	s.cmd.Stdout = io.MultiWriter(s.last, out)
	s.cmd.Stderr = s.cmd.Stdout
	group(s.cmd)
	if _, err := s.cmd.StdinPipe(); err != nil { // Wait closes it
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	ready := make(chan struct{})
	go s.read(cfg.Ready, ready)
	go func() {
		s.ended <- s.cmd.Wait()
		_ = out.Close()
	}()
	select {
	case <-ready:
		return s, nil
	case err := <-s.ended:
		s.ended <- err
		return nil, fmt.Errorf("%w: ended (%v): %s", ErrFailed, err, s.Output())
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("%w: not ready: %w: %s", ErrFailed, ctx.Err(), s.Output())
	}
}

// read closes ready at the line that matches, and takes what comes after it.
func (s *Server) read(line *regexp.Regexp, ready chan<- struct{}) {
	r := bufio.NewReader(s.lines)
	for waiting := true; ; {
		text, err := r.ReadSlice('\n')
		if waiting && line.Match(text) {
			waiting = false
			close(ready)
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}

// Output returns the end of the output of the program.
func (s *Server) Output() string { return s.last.String() }

// Close ends the program and waits for its end. It may be called twice.
func (s *Server) Close() {
	s.once.Do(func() {
		kill(s.cmd)
		<-s.ended
	})
}
