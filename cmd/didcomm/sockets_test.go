package main

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// sockets runs an agent of its own and checks after the test that it still
// lives: it answers a ping and stops when told.
func sockets(t *testing.T, args ...string) (*agentProcess, *peer) {
	t.Helper()
	p, who := run(t, args...)
	t.Cleanup(func() {
		for _, flag := range []string{"--ws=false", "--ws"} {
			who.run("", "ping", flag, p.did)
		}
		if err := p.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	return p, who
}

// run runs an agent of its own until the end of the test.
func run(t *testing.T, args ...string) (*agentProcess, *peer) {
	t.Helper()
	program, err := exec.LookPath("didcomm")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env := append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(dir, "home"))
	p, err := startAgent(program, env, dir, append([]string{"--listen", "127.0.0.1:0", "--log-level", "error"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p, &peer{t: t, program: program, dir: dir, to: p.did, host: u.Host}
}

// peer is somebody who talks to an agent.
type peer struct {
	t                      *testing.T
	program, dir, to, host string
}

// run runs didcomm, which has to succeed, and returns what it prints.
func (p *peer) run(stdin string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.program, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(p.dir, "peer"))
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Errorf("didcomm %s: %v\n%s", args[0], err, stderr.Bytes())
	}
	return string(out)
}

// basicMessage packs a basic message to the agent.
func (p *peer) basicMessage(id, content string) string {
	p.t.Helper()
	from := p.run("", "did", "create", "--method", "key")
	m := fmt.Sprintf(`{"id":%q,"type":"https://didcomm.org/basicmessage/2.0/message","body":{"content":%q}}`, id, content)
	return p.run(m, "pack", "--from", strings.TrimSpace(from), "--to", p.to)
}

// post returns the status and body of the answer.
func post(t *testing.T, url, mediaType string, body io.Reader) (int, string) {
	t.Helper()
	resp, err := http.Post(url, mediaType, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func TestBadRequests(t *testing.T) {
	agent, peer := sockets(t)
	envelope := peer.basicMessage("1", "hello")
	big := strings.Repeat("x", 10<<20)
	for _, tt := range []struct {
		name, mediaType, body string
		status                int
	}{
		{"10 MiB", transport.MediaTypeEncrypted, big, http.StatusRequestEntityTooLarge},
		{"truncated envelope", transport.MediaTypeEncrypted, envelope[:len(envelope)/2], http.StatusBadRequest},
		{"empty", transport.MediaTypeEncrypted, "", http.StatusBadRequest},
		{"another's envelope", transport.MediaTypeEncrypted, strings.Replace(envelope, `"kid":"did:`, `"kid":"did:key:x`, 1), http.StatusBadRequest},
		{"foreign type", "text/html", envelope, http.StatusUnsupportedMediaType},
		{"json", "application/json", envelope, http.StatusUnsupportedMediaType},
		{"plaintext", transport.MediaTypePlain, `{"id":"1","type":"https://didcomm.org/basicmessage/2.0/message","body":{"content":"x"}}`, http.StatusBadRequest},
		{"well", transport.MediaTypeEncrypted, envelope, http.StatusAccepted},
		{"well, with parameters", "APPLICATION/DIDComm-Encrypted+JSON; charset=utf-8", peer.basicMessage("2", "hello again"), http.StatusAccepted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := post(t, agent.url, tt.mediaType, strings.NewReader(tt.body))
			if status != tt.status {
				t.Errorf("status %d, want %d (%q)", status, tt.status, answer)
			}
			if status >= 400 && (strings.TrimSpace(answer) == "" || strings.Count(strings.TrimSpace(answer), "\n") > 0) {
				t.Errorf("the answer to a refused packet is %q, want one plain line", answer)
			}
			if status < 300 && answer != "" {
				t.Errorf("an answer nobody asked for: %q", answer)
			}
		})
	}
	resp, err := http.Get(agent.url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", resp.Status)
	}
	for _, want := range []string{": hello$", ": hello again$"} {
		if _, err := agent.says(want); err != nil {
			t.Error(err)
		}
	}
}

// A message is handled once, however often it comes.
func TestReplay(t *testing.T) {
	agent, peer := sockets(t)
	first, second := peer.basicMessage("1", "first"), peer.basicMessage("2", "second")
	for _, envelope := range []string{first, first, first, second} {
		if status, answer := post(t, agent.url, transport.MediaTypeEncrypted, strings.NewReader(envelope)); status/100 != 2 {
			t.Errorf("status %d (%q)", status, answer)
		}
	}
	for _, want := range []string{": first$", ": second$"} {
		if _, err := agent.says(want); err != nil {
			t.Error(err)
		}
	}
}

// A body that breaks off is refused, or its connection just ends.
func TestTruncatedBody(t *testing.T) {
	_, peer := sockets(t)
	conn := dial(t, peer.host)
	fmt.Fprintf(conn, "POST /didcomm HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n{", peer.host, transport.MediaTypeEncrypted)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %s", resp.Status)
		}
	} else if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

func dial(t *testing.T, host string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A peer that sends its header or its body too slowly is cut off. The deadline of
// the connection is what fails the test; how soon the agent cuts is for its
// --read-timeout to say.
func TestSlowLoris(t *testing.T) {
	_, peer := sockets(t, "--read-timeout", "300ms")
	socket := dial(t, peer.host)
	upgrade(t, socket, peer.host)
	header := fmt.Sprintf("POST /didcomm HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: 100000\r\n\r\n", peer.host, transport.MediaTypeEncrypted)
	for name, begin := range map[string]string{
		"nothing": "",
		"header":  header[:20],
		"body":    header + "{",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, peer.host)
			if _, err := io.WriteString(conn, begin); err != nil {
				t.Fatal(err)
			}
			var wait sync.WaitGroup
			done := make(chan struct{})
			if name != "nothing" {
				wait.Go(func() { // a byte now and then
					tick := time.NewTicker(50 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-done:
							return
						case <-tick.C:
							if _, err := io.WriteString(conn, "x"); err != nil {
								return
							}
						}
					}
				})
			}
			answer, err := io.ReadAll(conn)
			close(done)
			wait.Wait()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the agent waits on")
			}
			if name == "body" && len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) {
				t.Errorf("answer %q", answer)
			}
		})
	}

	// A WebSocket that is silent for longer lives on: it answers a ping (RFC 6455,
	// section 5.5.2).
	if _, err := socket.Write([]byte{0x89, 0x80, 1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	pong := make([]byte, 2)
	if _, err := io.ReadFull(socket, pong); err != nil || !bytes.Equal(pong, []byte{0x8a, 0}) {
		t.Errorf("the WebSocket answers %x, %v", pong, err)
	}
}

// Senders that do not finish share --unread-bytes. Those that find no room are told to come
// back later, and the agent answers others.
func TestUnfinishedMessages(t *testing.T) {
	const size, room, n = 1 << 20, 4, 24
	agent, who := sockets(t, "--max-bytes", fmt.Sprint(size), "--unread-bytes", fmt.Sprint(room*size), "--read-timeout", "1m")
	refused := make(chan error, n)
	for i := range n {
		conn := dial(t, who.host)
		want := "HTTP/1.1 503 Service Unavailable\r\n"
		var head []byte
		if i%2 == 0 {
			head = fmt.Appendf(nil, "POST /didcomm HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", who.host, transport.MediaTypeEncrypted, size)
		} else {
			upgrade(t, conn, who.host)
			head = append(binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, size), 0, 0, 0, 0) // RFC 6455, section 5.2
			want = string(binary.BigEndian.AppendUint16([]byte{0x88, 2 + uint8(len(unread))}, 1013)) + unread
		}
		go conn.Write(append(head, make([]byte, size-1)...)) // ends with the connection
		go func() {
			answer := make([]byte, len(want))
			_, err := io.ReadFull(conn, answer)
			if err == nil && string(answer) != want {
				err = fmt.Errorf("answer %q, want %q", answer, want)
			}
			refused <- err
		}()
	}
	for range n - room {
		if err := <-refused; err != nil {
			t.Error(err)
		}
	}
	who.run("", "ping", agent.did)
}

const unread = "too many unread bytes"

// However peers hang on, the agent stops in time.
func TestStopWhileBusy(t *testing.T) {
	agent, peer := run(t)
	header := fmt.Sprintf("POST /didcomm HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: 100000\r\n\r\n", peer.host, transport.MediaTypeEncrypted)
	for _, begin := range []string{"", header[:20], header, header + "{"} {
		if _, err := io.WriteString(dial(t, peer.host), begin); err != nil {
			t.Fatal(err)
		}
	}
	upgrade(t, dial(t, peer.host), peer.host)
	if err := agent.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
}

// What a peer answers on a connection that the agent opened does not keep it from
// stopping either, though the sender's DID takes long to resolve.
func TestStopWhileResolving(t *testing.T) {
	web := listen(t) // where the DID's document ought to be; nobody answers
	endpoint := listen(t)
	agent, peer := run(t)

	_, port, err := net.SplitHostPort(web.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	created := peer.run("", "did", "create", "--method", "web", "--domain", "127.0.0.1:"+port)
	from, document, _ := strings.Cut(created, "\n")
	docs := filepath.Join(peer.dir, "document.json")
	if err := os.WriteFile(docs, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	answer := peer.run(`{"id":"2","type":"https://didcomm.org/empty/1.0/empty"}`, "pack", "--did-docs", docs, "--from", from, "--to", agent.did)

	// The agent answers a ping that asks for no return route at the endpoint.
	id := strings.TrimSpace(peer.run("", "did", "create", "--service", "ws://"+endpoint.Addr().String()))
	ping := peer.run(`{"id":"1","type":"https://didcomm.org/trust-ping/2.0/ping"}`, "pack", "--from", id, "--to", agent.did)
	if status, answer := post(t, agent.url, transport.MediaTypeEncrypted, strings.NewReader(ping)); status/100 != 2 {
		t.Fatalf("status %d (%q)", status, answer)
	}
	conn := accept(t, endpoint)
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	accepted := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accepted[:]))
	frame := binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(answer))) // RFC 6455, section 5.2
	if _, err := conn.Write(append(frame, answer...)); err != nil {
		t.Fatal(err)
	}
	accept(t, web) // the agent resolves
	if err := agent.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// upgrade makes a WebSocket of a connection.
func upgrade(t *testing.T, conn net.Conn, host string) {
	fmt.Fprintf(conn, "GET /didcomm HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n", host)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
	} else if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("upgrade: %s", resp.Status)
	}
}

// A thousand WebSockets stay open while a thousand POSTs come at once, and until
// after the agent has stopped.
func TestThousandConnections(t *testing.T) {
	const connections = 1000
	open := make([]net.Conn, connections)
	t.Cleanup(func() {
		for _, conn := range open {
			if conn != nil {
				conn.Close()
			}
		}
	})
	agent, peer := sockets(t, "--connections-per-address=0", "--connects-per-minute=0")
	envelope := peer.basicMessage("1", "one of a thousand")

	var all sync.WaitGroup
	turn := make(chan struct{}, 50) // handshakes at a time
	for i := range open {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			conn, err := net.Dial("tcp", peer.host)
			if err != nil {
				t.Error(err)
				return
			}
			open[i] = conn
			upgrade(t, conn, peer.host)
		})
	}
	all.Wait()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	start := make(chan struct{})
	for range connections {
		all.Go(func() {
			<-start
			resp, err := client.Post(agent.url, transport.MediaTypeEncrypted, strings.NewReader(envelope))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode/100 != 2 {
				t.Errorf("%s, %v", resp.Status, err)
			}
		})
	}
	close(start)
	all.Wait()
	if _, err := agent.says(": one of a thousand$"); err != nil {
		t.Error(err)
	}
}
