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
	did, url string // url is that of POSTs

	mu    sync.Mutex
	lines []string      // of standard output, after the DID
	more  chan struct{} // closed at the next line
}

var endpointLine = regexp.MustCompile(`takes messages at (\S+)\. `)

// serveProgram runs "didcomm serve" until the test ends.
func serveProgram(t *testing.T, path string) *served {
	t.Helper()
	s := &served{program: program{path, t.TempDir()}, more: make(chan struct{})}
	cmd := exec.Command(path, "serve", "--home", s.home, "--listen", "127.0.0.1:0", "--log-level", "warn")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	did, url := make(chan string, 1), make(chan string, 1)
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
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		readers.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if s.did, s.url = <-did, <-url; s.did == "" || s.url == "" {
		t.Fatal("serve did not start")
	}
	return s
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
