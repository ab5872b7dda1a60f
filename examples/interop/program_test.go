package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildProgram builds our program.
func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "didcomm")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/didcomm").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// program is our program with a home.
type program struct{ path, home string }

// run runs a command. An error has what the command says.
func (p program) run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, p.path, append(args, "--home", p.home)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("didcomm %s: %w: %s", args[0], err, complaint.String())
	}
	return out.String(), complaint.String(), err
}

// served is "didcomm serve", an agent with a home of its own.
type served struct {
	program
	args     []string // of serve
	did, url string   // url is that of POSTs, empty if the agent listens on no port

	cmd   *exec.Cmd
	ended chan struct{} // closed when the output has ended

	mu    sync.Mutex
	lines []string      // of standard output, after the DID
	more  chan struct{} // closed at the next line
}

var endpointLine = regexp.MustCompile(`takes messages at (\S+)\. `)

// serveProgram runs "didcomm serve" until the test ends.
func serveProgram(t *testing.T, path string) *served {
	t.Helper()
	return serveWith(t, path, "--listen", "127.0.0.1:0")
}

// serveWith runs "didcomm serve" with arguments until the test ends.
func serveWith(t *testing.T, path string, args ...string) *served {
	t.Helper()
	s := &served{program: program{path, t.TempDir()}, args: args, more: make(chan struct{})}
	if err := s.start(t); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// start returns when the agent takes messages.
func (s *served) start(t *testing.T) error {
	cmd := exec.Command(s.path, append([]string{"serve", "--home", s.home, "--log-level", "warn"}, s.args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	did, url, ended := make(chan string, 1), make(chan string, 1), make(chan struct{})
	s.cmd, s.ended = cmd, ended
	var readers sync.WaitGroup
	readers.Go(func() {
		defer close(did)
		lines := bufio.NewScanner(stdout)
		if lines.Scan() {
			did <- lines.Text()
		}
		for lines.Scan() {
			s.mu.Lock()
			s.lines = append(s.lines, lines.Text())
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
		}
	})
	readers.Go(func() {
		defer close(url)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := endpointLine.FindStringSubmatch(lines.Text()); m != nil {
				url <- m[1]
				continue
			}
			t.Log("serve: ", lines.Text())
		}
	})
	go func() {
		readers.Wait()
		close(ended)
	}()
	before := s.did
	if s.did = <-did; s.did == "" || before != "" && before != s.did {
		return fmt.Errorf("serve has %q as its DID, and had %q", s.did, before)
	}
	if slices.Contains(s.args, "--via") {
		return nil
	}
	if s.url = <-url; s.url == "" {
		return errors.New("serve takes no messages")
	}
	return nil
}

// stop ends the agent.
func (s *served) stop() error {
	_ = s.cmd.Process.Signal(os.Interrupt)
	<-s.ended
	return s.cmd.Wait()
}

// restart kills the agent, as a crash would, and starts it again.
func (s *served) restart(t *testing.T) error {
	s.kill()
	return s.start(t)
}

func (s *served) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	_ = s.cmd.Wait()
}

// said counts the lines of a basic message.
func (s *served) said(text string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		if strings.HasSuffix(line, ": "+text) {
			n++
		}
	}
	return n
}

// at makes another DID of the agent, with an endpoint.
func (s *served) at(ctx context.Context, uri string) (string, error) {
	out, _, err := s.run(ctx, "did", "create", "--service", uri)
	return strings.TrimSpace(out), err
}

// by makes another DID of the agent, with its endpoint in a scheme.
func (s *served) by(ctx context.Context, scheme string) (string, error) {
	return s.at(ctx, scheme+strings.TrimPrefix(s.url, "http"))
}

// says waits for the line of a basic message.
func (s *served) says(ctx context.Context, text string) error {
	for {
		s.mu.Lock()
		lines, more := s.lines, s.more
		s.mu.Unlock()
		for _, line := range lines {
			if strings.HasSuffix(line, ": "+text) {
				return nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("serve does not say %q: %w: %q", text, ctx.Err(), lines)
		}
	}
}

// until repeats f until it returns nil.
func until(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
