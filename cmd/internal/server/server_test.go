package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Keys that other users can read are told.
func TestExposedKeys(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	home := t.TempDir()
	for _, tt := range []struct {
		mode os.FileMode
		warn bool
	}{{0o600, false}, {0o640, true}, {0o604, true}} {
		openRing(t, server.StoreConfig{Home: home})
		if err := os.Chmod(filepath.Join(home, "agent.db"), tt.mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, err := server.Listen(t.Context(), server.Config{
			Home: home, Listen: "127.0.0.1:0", MaxBytes: 1 << 20, ReadTimeout: time.Second,
			OnMessage: func(string, string) {}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "private keys"); got != tt.warn {
			t.Errorf("mode %v: warned %v, want %v\n%s", tt.mode, got, tt.warn, log.String())
		}
	}
}

func TestIdentity(t *testing.T) {
	ctx := t.Context()
	keys, err := server.NewKeys(keyring.P384)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := server.NewKeys(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	must := func(id *server.Identity, err error) *server.Identity {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for name, tt := range map[string]struct {
		id       *server.Identity
		keys     int
		services int
	}{
		"peer 2":       {must(ed.Peer("https://a.example", "wss://b.example")), 2, 2},
		"peer 2 alone": {must(keys.Peer()), 2, 0},
		"peer 4":       {must(keys.Peer4("https://a.example")), 2, 1},
		"web":          {must(keys.Web("did:web:example.org", "https://a.example", "did:web:mediator.example")), 2, 2},
		"key":          {must(server.NewKeyDID(keyring.Ed25519)), 2, 0},
		"key P-256":    {must(server.NewKeyDID(keyring.P256)), 1, 0},
		"jwk":          {must(server.NewJWKDID(keyring.P256)), 1, 0},
		"jwk Ed25519":  {must(server.NewJWKDID(keyring.Ed25519)), 1, 0},
	} {
		if n := len(tt.id.Keys.KIDs()); n != tt.keys {
			t.Errorf("%s: %d keys, want %d", name, n, tt.keys)
		}
		if n := len(tt.id.Document.DIDCommServices()); n != tt.services {
			t.Errorf("%s: %d services, want %d", name, n, tt.services)
		}
		for _, m := range tt.id.Document.AuthenticationKeys() {
			if _, err := tt.id.Keys.Signer(ctx, m.ID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, m := range tt.id.Document.KeyAgreementKeys() {
			if _, err := tt.id.Keys.KeyAgreement(ctx, m.ID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, curve := range []keyring.Curve{keyring.X25519, keyring.Secp256k1, "none"} {
		if _, err := server.NewKeys(curve); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("keys of %s: %v", curve, err)
		}
	}
}

// Keys that a file has are never lost by adding others.
func TestAddSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	var kids []string
	for range 3 {
		id, err := server.NewKeyDID(keyring.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time changes nothing
			if err := server.AddSecrets(path, id.Keys); err != nil {
				t.Fatal(err)
			}
		}
		kids = append(kids, id.Keys.KIDs()...)
		ring, err := server.ReadSecrets(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ring.KIDs(), kids) {
			t.Errorf("the file has %v, want %v", ring.KIDs(), kids)
		}
	}
	for _, other := range []string{"text", "{}", `[{"kid":`} {
		if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := server.NewKeyDID(keyring.P256)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.AddSecrets(path, id.Keys); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("file %q: %v", other, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != other {
			t.Errorf("file %q became %q (%v)", other, now, err)
		}
	}
}

// No process loses the keys that another adds at the same time.
func TestAddSecretsAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets.json")
	const adders = 20
	var all sync.WaitGroup
	for range adders {
		all.Go(func() {
			id, err := server.NewKeyDID(keyring.P256)
			if err == nil {
				err = server.AddSecrets(path, id.Keys)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ring, err := server.ReadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ring.KIDs()); n != adders {
		t.Errorf("%d keys of %d are left", n, adders)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// What a process left that was killed is told, and nothing is overwritten.
func TestAddSecretsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	if err := os.WriteFile(path+".lock", []byte("keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := server.NewKeyDID(keyring.P256)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := server.AddSecrets(path, id.Keys); err == nil || !strings.Contains(err.Error(), path+".lock is there") {
			t.Errorf("error %v", err)
		}
	})
	if data, err := os.ReadFile(path + ".lock"); string(data) != "keys" {
		t.Errorf("the other's file is %q, %v", data, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written all the same: %v", err)
	}
}

// A symbolic link stays one, and the file that it leads to has all keys.
func TestAddSecretsLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err) // Windows asks for a privilege
	}
	id, err := server.NewKeyDID(keyring.P256)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.AddSecrets(link, id.Keys); err == nil {
		t.Error("a link to nothing was written")
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.AddSecrets(link, id.Keys); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	ring, err := server.ReadSecrets(file)
	if err != nil || len(ring.KIDs()) != 1 {
		t.Errorf("keys of the file: %v, %v", ring, err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestParseDocs(t *testing.T) {
	const a, b = `{"id":"did:example:a"}`, `{"id":"did:example:b"}`
	for _, tt := range []struct {
		data string
		want int
		err  string
	}{
		{`{"did:example:a":` + a + `,"did:example:b":` + b + `}`, 2, ""},
		{`[` + a + `,` + b + `]`, 2, ""},
		{a, 1, ""},
		{`[]`, 0, ""},
		{`{}`, 0, ""},
		{`{"did:example:a":` + b + `}`, 0, "is of did:example:b"},
		{`{"did:example:a":1}`, 0, "did:example:a"},
		{`[` + a + `,1]`, 0, "document 2"},
		{`[{"id":"nonsense"}]`, 0, "document 1"},
		{`1`, 0, "neither"},
		{`[`, 0, "neither"},
		{`{"did:example:a":` + a + `,"did:example:a":` + a + `}`, 0, "neither"},
	} {
		docs, err := server.ParseDocs([]byte(tt.data))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", tt.data, err, tt.err)
			}
			continue
		}
		if err != nil || len(docs) != tt.want {
			t.Errorf("%s: %d documents, %v", tt.data, len(docs), err)
		}
	}
}

func TestResolver(t *testing.T) {
	docs, err := server.ParseDocs([]byte(`[{"id":"did:example:a"}]`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := server.Network{}.Resolver(docs)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]error{
		"did:example:a": nil,
		"did:example:b": did.ErrMethod,
		"did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH": nil,
		"did:peer:3zQm": did.ErrUnsupported,
		"nonsense":      did.ErrInvalid,
	} {
		if _, err := r.Resolve(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	good := server.Config{
		Listen: "127.0.0.1:0", MaxBytes: 1, ReadTimeout: time.Second, DeliverWithin: time.Hour, KeepReceived: time.Hour,
		ReportBurst: 1, ReportsPerHour: 1, AnswerBurst: 1, AnswersPerHour: 1,
		Store: server.StoreConfig{MaxItems: 1, MaxBytes: 1},
	}
	for name, tt := range map[string]struct {
		change func(*server.Config)
		ok     bool
	}{
		"good":                       {func(*server.Config) {}, true},
		"any address":                {func(c *server.Config) { c.Listen = ":0" }, false},
		"any address, public URL":    {func(c *server.Config) { c.Listen, c.PublicURL = ":0", "https://a.example" }, true},
		"any address, did:web":       {func(c *server.Config) { c.Listen, c.DID = "[::]:0", "did:web:a.example" }, true},
		"did:web of nothing":         {func(c *server.Config) { c.DID = "did:web:" }, false},
		"another DID":                {func(c *server.Config) { c.DID = "did:example:a" }, false},
		"no port":                    {func(c *server.Config) { c.Listen = "127.0.0.1" }, false},
		"key without certificate":    {func(c *server.Config) { c.TLSKey = "k" }, false},
		"URL of the health check":    {func(c *server.Config) { c.PublicURL = "https://a.example/healthz" }, false},
		"URL of a document":          {func(c *server.Config) { c.PublicURL = "https://a.example/x/did.json" }, false},
		"URL that is a pattern":      {func(c *server.Config) { c.PublicURL = "https://a.example/:x" }, false},
		"URL with user":              {func(c *server.Config) { c.PublicURL = "https://u@a.example/" }, false},
		"URL with a port":            {func(c *server.Config) { c.PublicURL = "https://a.example:65535/" }, true},
		"URL with no such port":      {func(c *server.Config) { c.PublicURL = "https://a.example:65536/" }, false},
		"URL without host":           {func(c *server.Config) { c.PublicURL = "https:///x" }, false},
		"nothing may be large":       {func(c *server.Config) { c.MaxBytes = 0 }, false},
		"nobody may take their time": {func(c *server.Config) { c.ReadTimeout = 0 }, false},
		"no time to deliver":         {func(c *server.Config) { c.DeliverWithin = 0 }, false},
		"nothing is remembered":      {func(c *server.Config) { c.KeepReceived = 0 }, false},
		"no report at once":          {func(c *server.Config) { c.ReportBurst = 0 }, false},
		"no report later":            {func(c *server.Config) { c.ReportsPerHour = -1 }, false},
		"no answer at once":          {func(c *server.Config) { c.AnswerBurst = 0 }, false},
		"no answer later":            {func(c *server.Config) { c.AnswersPerHour = 0 }, false},
		"no message may wait":        {func(c *server.Config) { c.Store.MaxItems = 0 }, false},
		"no byte may wait":           {func(c *server.Config) { c.Store.MaxBytes = 0 }, false},
	} {
		c := good
		tt.change(&c)
		if err := c.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client has a service, though it does not listen: there are peers that answer
// none without.
func TestClientService(t *testing.T) {
	c, err := server.Start(t.Context(), server.ClientConfig{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	doc, err := didpeer.NewResolver().Resolve(t.Context(), c.Agent().DID())
	if err != nil {
		t.Fatal(err)
	}
	if s := doc.DIDCommServices(); len(s) != 1 || s[0].URI != did.QueueURI {
		t.Errorf("services %+v", s)
	}
}
