//go:build attack && linux

package attack_test

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// site is an HTTP server of a party. It counts requests and the bytes that they have sent.
type site struct {
	url      string
	requests atomic.Int64
	bytes    atomic.Int64
}

// newSite starts a site at a loopback address, whose requests h answers.
func newSite(t *testing.T, ip string, h http.HandlerFunc) *site {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := new(site)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			s.bytes.Add(n)
		}
		h(w, r)
	}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.url = server.URL
	return s
}

// accept answers a packet.
func accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }

// silent is a port that takes connections and never answers. It counts them.
type silent struct {
	addr  string
	mu    sync.Mutex
	conns []net.Conn
}

func newSilent(t *testing.T, ip string) *silent {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silent{addr: l.Addr().String()}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.conns {
			c.Close()
		}
	})
	return s
}

// forged returns a packet that looks like one from the key skid, and that nobody can open.
func forged(t *testing.T, who *agenttest.Party, to, skid string) transport.Packet {
	t.Helper()
	p := pack(t, who, to, text("garbage"))
	var jwe map[string]any
	if err := json.Unmarshal(p.Data, &jwe); err != nil {
		t.Fatal(err)
	}
	protected, err := base64.RawURLEncoding.DecodeString(jwe["protected"].(string))
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.Unmarshal(protected, &header); err != nil {
		t.Fatal(err)
	}
	header["skid"], header["apu"] = skid, base64.RawURLEncoding.EncodeToString([]byte(skid))
	if protected, err = json.Marshal(header); err != nil {
		t.Fatal(err)
	}
	jwe["protected"] = base64.RawURLEncoding.EncodeToString(protected)
	if p.Data, err = json.Marshal(jwe); err != nil {
		t.Fatal(err)
	}
	return p
}

// webParty is a party with a did:web, whose keys it can change.
type webParty struct {
	did string

	mu  sync.Mutex
	doc *did.Document
}

// newWebParty publishes the document of a did:web on a site. Call change to give it keys.
func newWebParty(t *testing.T) *webParty {
	t.Helper()
	p := new(webParty)
	s := newSite(t, "127.0.0.1", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.MarshalWrite(w, p.doc)
	})
	p.did = "did:web:" + strings.ReplaceAll(strings.TrimPrefix(s.url, "http://"), ":", "%3A")
	return p
}

// change gives the DID new keys, and returns a party with these.
func (p *webParty) change(t *testing.T) *agenttest.Party {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Web(p.did, pair, "http://127.0.0.1:9/")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := id.Resolve(t.Context(), p.did)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.doc = doc
	p.mu.Unlock()
	resolver := identity.Before(id, did.Methods{"peer": didpeer.NewResolver()})
	packer, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return &agenttest.Party{DID: p.did, Keys: keys, Resolver: resolver, Packer: packer}
}

// statusOf posts a packet from an address, and returns the status.
func statusOf(t *testing.T, a *target, ip string, p transport.Packet) int {
	t.Helper()
	status, _ := postBy(t, clientAt(ip), a.url, p)
	return status
}

// pingMessage returns a ping that asks for an answer to the endpoint of its sender.
func pingMessage() *message.Message {
	return &message.Message{Type: "https://didcomm.org/trust-ping/2.0/ping", Body: []byte(`{"response_requested":true}`)}
}
