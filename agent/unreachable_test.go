package agent_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// If a message cannot be opened because a DID cannot be reached, the peer is asked to try
// again later, unless the DID does not exist. The DID may be that of any party to the
// message.
func TestUnreachableDID(t *testing.T) {
	web, err := didweb.NewResolver(didweb.Config{Dial: (&netguard.Guard{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	_, refused := web.Resolve(t.Context(), "did:web:localhost%3A1")
	for name, err := range map[string]error{
		"down":        errors.New("connection refused"),
		"late":        context.DeadlineExceeded,
		"not found":   did.ErrNotFound,
		"invalid":     did.ErrInvalid,
		"method":      did.ErrMethod,
		"unsupported": did.ErrUnsupported,
		"refused":     refused, // by the guard
	} {
		// Whether the guard refuses an address cannot be seen.
		again := name == "down" || name == "late" || name == "refused"
		for who, write := range map[string]func(t *testing.T, s, prior *stranger, a *agent.Agent) (lost string, p transport.Packet){
			"sender": func(t *testing.T, s, _ *stranger, a *agent.Agent) (string, transport.Packet) {
				return s.DID, s.pack(t, s.message(t, a, chatType, nil))
			},
			"signer": func(t *testing.T, s, _ *stranger, a *agent.Agent) (string, transport.Packet) {
				return s.DID, s.pack(t, s.message(t, a, chatType, nil), envelope.SignBy(s.DID))
			},
			"issuer of from_prior": func(t *testing.T, s, prior *stranger, a *agent.Agent) (string, transport.Packet) {
				jwt, err := prior.Packer.FromPrior(t.Context(), prior.DID, s.DID, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				return prior.DID, s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.FromPrior = jwt }))
			},
		} {
			t.Run(who+" "+name, func(t *testing.T) {
				n, p, got := agenttest.NewNet(), agenttest.NewParty(t), make(inbox, 1)
				var lost atomic.Value // of string, the DID that does not resolve
				lost.Store("")
				packer, packerErr := envelope.New(envelope.Config{Keys: p.Keys, Resolver: did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
					if id == lost.Load() {
						return nil, err
					}
					return p.Resolver.Resolve(ctx, id)
				})})
				if packerErr != nil {
					t.Fatal(packerErr)
				}
				a := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = p.DID, packer }))
				srv := httptest.NewServer(httptransport.NewHandler(a, httptransport.HandlerConfig{}))
				defer srv.Close()
				id, packet := write(t, newStranger(t, n), newStranger(t, n), a)
				post := func() *http.Response {
					resp, err := http.Post(srv.URL, transport.MediaTypeEncrypted, bytes.NewReader(packet.Data))
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					return resp
				}
				lost.Store(id)
				status, after := http.StatusBadRequest, ""
				if again {
					status, after = http.StatusServiceUnavailable, "10"
				}
				if resp := post(); resp.StatusCode != status || resp.Header.Get("Retry-After") != after {
					t.Errorf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
				}
				// On a session, the message is parked, since its sender is not known.
				var reject *transport.RejectError
				if served := serve(t.Context(), a, newSession(), packet); again == (served != nil) || again == errors.As(served, &reject) {
					t.Errorf("on a session: %v", served)
				}
				lost.Store("")
				if resp := post(); resp.StatusCode != http.StatusAccepted {
					t.Errorf("when it resolves: %s", resp.Status)
				}
				got.next(t)
			})
		}
	}
}

// away is Keys whose store cannot be reached.
type away struct{ listed bool }

var errAway = errors.New("the key store is away")

func (a away) KeyAgreement(context.Context, string) (ecdh.KeyExchanger, error) {
	if a.listed {
		return nil, envelope.ErrNoKey
	}
	return nil, errAway
}

func (away) Signer(context.Context, string) (crypto.Signer, error) { return nil, errAway }

func (away) Own(context.Context, string) (string, error) { return "", errAway }

func (away) DIDs(context.Context, int) ([]string, error) { return nil, errAway }

// While our keys cannot be reached, messages are not refused for good.
func TestUnreachableKeys(t *testing.T) {
	for name, keys := range map[string]away{"of the key": {}, "of the list": {listed: true}} {
		t.Run(name, func(t *testing.T) {
			n, p := agenttest.NewNet(), agenttest.NewParty(t)
			packer, err := envelope.New(envelope.Config{Keys: keys, Resolver: p.Resolver})
			if err != nil {
				t.Fatal(err)
			}
			a := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = p.DID, packer }))
			s := newStranger(t, n)
			err = serve(t.Context(), a, new(call), s.pack(t, s.message(t, a, chatType, nil)))
			var busy *transport.BusyError
			if !errors.As(err, &busy) || busy.RetryAfter <= 0 || !errors.Is(err, errAway) {
				t.Errorf("error %v", err)
			}
		})
	}
}
