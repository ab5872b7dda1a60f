package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/transport"
)

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a server until the end of the test. It returns the URL of the server, its DID and
// its log.
func start(t *testing.T, change func(*server.Config)) (at, id string, log *logBuffer) {
	t.Helper()
	log = new(logBuffer)
	s, stop := listen(t, func(c *server.Config) {
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
		change(c)
	})
	t.Cleanup(stop)
	return strings.TrimSuffix(s.Endpoint(), server.DefaultPath), s.DID(), log
}

// listen runs a server until stop is called.
func listen(t *testing.T, change func(*server.Config)) (s *server.Server, stop func()) {
	t.Helper()
	cfg := server.Config{
		Home:   home.Config{Dir: t.TempDir(), MaxItems: 10, MaxBytes: 1 << 20},
		Listen: "127.0.0.1:0", MaxBytes: 1 << 20, ReadTimeout: 10 * time.Second, DeliverWithin: time.Hour, KeepReceived: time.Hour,
		ReportBurst: 1, ReportsPerHour: 1, AnswerBurst: 1, AnswersPerHour: 1,
		OnMessage: func(string, string, string) {},
		Logger:    slog.New(slog.DiscardHandler),
	}
	change(&cfg)
	s, err := server.Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// fetch returns the response to a GET, and its body.
func fetch(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// An agent whose database fails is alive and not ready, until the database is well again.
// Peers are asked to come back meanwhile.
func TestReady(t *testing.T) {
	dir := t.TempDir()
	at, id, log := start(t, func(c *server.Config) { c.Home.Dir = dir })
	if resp, body := fetch(t, at+server.ReadyPath); resp.StatusCode != http.StatusOK || body != "store: ok\ndisk: ok\noutbox: ok\n" {
		t.Fatalf("%s, %q", resp.Status, body)
	}
	db := database(t, dir)
	change := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	change("ALTER TABLE record RENAME TO away")
	change("ALTER TABLE inbox RENAME TO gone")
	until(t, at, http.StatusServiceUnavailable)
	resp, body := fetch(t, at+server.ReadyPath)
	if !strings.Contains(body, "store: failed\n") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%q, %v", body, resp.Header)
	}
	for _, path := range []string{server.LivePath, server.HealthPath} {
		if resp, _ := fetch(t, at+path); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if resp := post(t, at, ping(t, id)); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a peer gets %s, %v", resp.Status, resp.Header)
	}
	if n := strings.Count(log.String(), "not ready"); n != 1 {
		t.Errorf("%d records of the log:\n%s", n, log)
	}

	change("ALTER TABLE away RENAME TO record")
	change("ALTER TABLE gone RENAME TO inbox")
	until(t, at, http.StatusOK)
	if resp := post(t, at, ping(t, id)); resp.StatusCode/100 != 2 {
		t.Errorf("a peer gets %s", resp.Status)
	}
}

// An agent whose database was deleted is not ready, and takes no messages.
func TestReadyDeleted(t *testing.T) {
	dir := t.TempDir()
	at, id, _ := start(t, func(c *server.Config) { c.Home.Dir = dir })
	if err := os.Remove(filepath.Join(dir, "agent.db")); err != nil {
		t.Fatal(err)
	}
	until(t, at, http.StatusServiceUnavailable)
	if resp := post(t, at, ping(t, id)); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a peer gets %s, %v", resp.Status, resp.Header)
	}
}

// An agent whose database hangs is not ready, and says so in time.
func TestReadyHangs(t *testing.T) {
	dir := t.TempDir()
	at, _, _ := start(t, func(c *server.Config) { c.Home.Dir = dir })
	db := database(t, dir)
	if _, err := db.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	until(t, at, http.StatusServiceUnavailable)
	if _, err := db.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	until(t, at, http.StatusOK)
}

// database opens the database of a home.
func database(t *testing.T, dir string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "agent.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// until waits for the status of ReadyPath.
func until(t *testing.T, at string, status int) {
	t.Helper()
	for began := time.Now(); ; {
		resp, body := fetch(t, at+server.ReadyPath)
		if resp.StatusCode == status {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s, %q, want %d", resp.Status, body, status)
		}
	}
}

// ping returns an anonymous message to a did:peer.
func ping(t *testing.T, to string) []byte {
	t.Helper()
	packer, err := envelope.New(envelope.Config{Keys: keyring.New(), Resolver: didpeer.NewResolver()})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := packer.Pack(t.Context(), &message.Message{ID: rand.Text(), Type: basicmessage.PIURI + "/message", Body: []byte(`{"content":"x"}`), To: []string{to}})
	if err != nil {
		t.Fatal(err)
	}
	return packed[0].Data
}

// post sends an envelope, and returns the response without the body.
func post(t *testing.T, at string, data []byte) *http.Response {
	t.Helper()
	resp, err := http.Post(at+server.DefaultPath, transport.MediaTypeEncrypted, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}
