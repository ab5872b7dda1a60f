//go:build attack && linux

package attack_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

var full = flag.Bool("full", false, "attack with the counts of 2026-11-30")

// count returns n with -full, and otherwise the smaller count of the short form.
func count(n, short int) int {
	if *full {
		return n
	}
	return short
}

// program is the path of the binary under attack.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "didcomm")
	build := exec.Command("go", "build", "-o", program, "../../cmd/didcomm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// target is a running "didcomm serve".
type target struct {
	t      *testing.T
	home   string
	env    []string
	unread bool // standard output is not read after the first line
	cmd    *exec.Cmd
	did    string
	url    string // of its endpoint
	host   string // HOST:PORT

	mu     sync.Mutex
	stdout strings.Builder
	stderr strings.Builder
	done   chan struct{} // closed when the process has ended
}

// serve starts a target with further flags. The target is killed at the end of the test.
func serve(t *testing.T, flags ...string) *target {
	t.Helper()
	return serveHome(t, filepath.Join(t.TempDir(), "home"), []string{program}, flags...)
}

// serveUnread is serve, but only the first line of standard output is read.
func serveUnread(t *testing.T, flags ...string) *target {
	t.Helper()
	a := &target{t: t, home: filepath.Join(t.TempDir(), "home"), unread: true}
	a.start([]string{program}, flags...)
	return a
}

// serveHome is serve with a home directory, and with the command line in front of the
// argument "serve".
func serveHome(t *testing.T, home string, command []string, flags ...string) *target {
	t.Helper()
	a := &target{t: t, home: home}
	a.start(command, flags...)
	return a
}

// start starts the process, and waits until it serves.
func (a *target) start(command []string, flags ...string) {
	t := a.t
	t.Helper()
	a.done = make(chan struct{})
	a.env = append(os.Environ(), "DIDCOMM_HOME="+a.home)
	args := append(command[1:len(command):len(command)], "serve", "--listen", "127.0.0.1:0")
	a.cmd = exec.Command(command[0], append(args, flags...)...)
	a.cmd.Env = a.env
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := a.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, at := make(chan string, 1), make(chan string, 1)
	var readers sync.WaitGroup
	read := func(r io.Reader, all *strings.Builder, once bool, first chan string, find func(line string) string) {
		defer close(first)
		found := false
		for s := bufio.NewReader(r); ; {
			line, err := s.ReadString('\n')
			a.mu.Lock()
			all.WriteString(line)
			a.mu.Unlock()
			if got := find(line); got != "" && !found {
				found = true
				first <- got
				if once {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	readers.Go(func() { read(stdout, &a.stdout, a.unread, id, strings.TrimSpace) })
	readers.Go(func() {
		read(stderr, &a.stderr, false, at, func(line string) string {
			_, rest, _ := strings.Cut(line, "takes messages at ")
			u, _, _ := strings.Cut(rest, ". ")
			return u
		})
	})
	go func() {
		readers.Wait()
		_ = a.cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(a.kill)
	a.did, a.url = <-id, <-at
	u, err := url.Parse(a.url)
	if err != nil || u.Host == "" {
		t.Fatalf("serve did not start: %s", a.log())
	}
	a.host = u.Host
}

func (a *target) kill() {
	_ = a.cmd.Process.Kill()
	<-a.done
}

// log returns what the target has written to standard error.
func (a *target) log() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stderr.String()
}

// printed returns what the target has written to standard output.
func (a *target) printed() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stdout.String()
}

// run runs a command of didcomm on the home of the target.
func (a *target) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = a.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("didcomm %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return string(out), err
}

// must is run, and fails the test after an error.
func (a *target) must(args ...string) string {
	a.t.Helper()
	out, err := a.run(args...)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// ping pings the target as somebody with another address, and returns how long that took.
func (a *target) ping() time.Duration {
	a.t.Helper()
	start := time.Now()
	who := agenttest.NewParty(a.t)
	packet := pack(a.t, who, a.did, &message.Message{
		Type: "https://didcomm.org/trust-ping/2.0/ping", ReturnRoute: "all", Body: []byte(`{"response_requested":true}`),
	})
	client := clientAt("127.9.9.9")
	client.Timeout = 20 * time.Second
	status, body := postBy(a.t, client, a.url, packet)
	if status != http.StatusOK {
		a.t.Errorf("ping: status %d, %.200s", status, body)
		return 0
	}
	if _, err := who.Packer.Unpack(a.t.Context(), body); err != nil {
		a.t.Errorf("ping: %v", err)
	}
	return time.Since(start)
}

// peak returns the largest memory that the target has had, in bytes.
func (a *target) peak() int64 {
	a.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				a.t.Fatal(err)
			}
			return kib << 10
		}
	}
	a.t.Fatal("no VmHWM")
	return 0
}

// figures logs the row of the threat model: what an attack did on 2026-11-30, what it
// does now, and the bound. It fails the test if ok is false.
func figures(t *testing.T, ok bool, before, now, bound string) {
	t.Helper()
	t.Logf("FIGURES | %s | %s | %s |", before, now, bound)
	if !ok {
		t.Error("over the bound")
	}
}

// clientAt returns a client whose connections come from a loopback address. Each request
// has a connection of its own.
func clientAt(ip string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// addressOf returns one of 60,000 loopback addresses.
func addressOf(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250%250, i%250+1) }

// pack returns the packet of a message from a party to the target. A message without id,
// from or to gets them.
func pack(t *testing.T, from *agenttest.Party, to string, m *message.Message) transport.Packet {
	t.Helper()
	if m.ID == "" {
		m.ID = message.NewID()
	}
	if m.From == "" {
		m.From = from.DID
	}
	if m.To == nil {
		m.To = []string{to}
	}
	e, err := from.Packer.Pack(t.Context(), m, envelope.From(from.DID), envelope.To(to))
	if err != nil {
		t.Fatal(err)
	}
	return transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data}
}

// text returns a basic message.
func text(content string) *message.Message {
	return &message.Message{
		Type: "https://didcomm.org/basicmessage/2.0/message",
		Body: fmt.Appendf(nil, `{"content":%q}`, content),
	}
}

// postBy posts a packet, and returns the status and the body of the response. The status is 0
// after an error of the network.
func postBy(t *testing.T, client *http.Client, url string, p transport.Packet) (int, []byte) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(p.Data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", p.MediaType)
	resp, err := client.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, body
}

// until waits until ok returns true, but not longer than the limit, and reports whether ok did.
func until(limit time.Duration, ok func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-tick.C {
		if ok() {
			return true
		}
	}
	return ok()
}

// together calls f for 0 to n-1, in at most so many goroutines at a time.
func together(n, most int, f func(i int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, most)
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	group.Wait()
}
