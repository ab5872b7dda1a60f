package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"
)

// stopLimit is how long serve may take to stop.
const stopLimit = 5 * time.Second

// agentProcess is a running "didcomm serve".
type agentProcess struct {
	cmd   *exec.Cmd
	did   string
	url   string        // that it tells peers
	lines chan string   // of standard output, after the DID; closed at its end
	ended chan error    // what Wait returned
	more  chan struct{} // has an element if stderr has another line

	mu     sync.Mutex
	stderr strings.Builder // guarded by mu
}

var endpointLine = regexp.MustCompile(`takes messages at (\S+)\. `)

// startAgent runs "didcomm serve" and returns when it serves.
func startAgent(program string, env []string, dir string, args ...string) (*agentProcess, error) {
	p := &agentProcess{
		cmd:   exec.Command(program, append([]string{"serve"}, args...)...),
		lines: make(chan string, 10_000),
		ended: make(chan error, 1),
		more:  make(chan struct{}, 1),
	}
	p.cmd.Env, p.cmd.Dir = env, dir
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	told := make(chan string, 1)
	var readers sync.WaitGroup
	readers.Go(func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
	})
	readers.Go(func() {
		defer close(told)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if m := endpointLine.FindStringSubmatch(s.Text()); m != nil {
				told <- m[1]
			}
			p.mu.Lock()
			p.stderr.WriteString(s.Text() + "\n")
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
		_, _ = io.Copy(io.Discard, stderr)
	})
	go func() {
		readers.Wait()
		p.ended <- p.cmd.Wait()
	}()
	p.did = <-p.lines
	p.url = <-told
	if p.did == "" || p.url == "" {
		return nil, fmt.Errorf("serve did not start: %w\n%s", <-p.ended, p.log())
	}
	return p, nil
}

func (p *agentProcess) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// says waits for a line of standard output that matches, and returns it; lines
// before it are an error.
func (p *agentProcess) says(pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	select {
	case line, ok := <-p.lines:
		if !ok {
			return "", fmt.Errorf("the agent has ended\n%s", p.log())
		}
		if !re.MatchString(line) {
			return "", fmt.Errorf("the agent says %q, want %q", line, pattern)
		}
		return line, nil
	case <-time.After(30 * time.Second):
		return "", fmt.Errorf("the agent says nothing, want %q\n%s", pattern, p.log())
	}
}

// logs waits until standard error matches.
func (p *agentProcess) logs(pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for end := time.After(30 * time.Second); !re.MatchString(p.log()); {
		select {
		case <-p.more:
		case <-end:
			return fmt.Errorf("the agent does not log %q\n%s", pattern, p.log())
		}
	}
	return nil
}

// stop interrupts the agent, which has to end well and in time.
func (p *agentProcess) stop(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	select {
	case err := <-p.ended:
		p.ended <- err
		if err != nil {
			return fmt.Errorf("serve: %w\n%s", err, p.log())
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("serve did not stop within %s\n%s", stopLimit, p.log())
	}
}

// kill ends the agent for good.
func (p *agentProcess) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}
