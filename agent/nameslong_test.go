package agent_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// literal is a peer with a did:peer:4 that knows long forms only, as Credo does: each packet
// that names a short form fails the test.
type literal struct {
	*stranger
	t     *testing.T
	short string
}

func newLiteral(t *testing.T, n *agenttest.Net, endpoint, service string) *literal {
	t.Helper()
	id := peer4Of(t, service)
	l := &literal{t: t, stranger: &stranger{Party: partyOf(t, id), got: make(chan *envelope.Unpacked, 100)}}
	l.short, _ = didpeer.Short(id.DID())
	err := n.Mem.Handle(endpoint, transport.HandlerFunc(func(ctx context.Context, _ transport.Replier, p transport.Packet) error {
		l.take(p)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func peer4Of(t *testing.T, endpoints ...string) *identity.Identity {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer4(pair, endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func methods() did.Resolver {
	return did.NewCache(did.Methods{"peer": didpeer.NewResolver(), "key": didkey.Resolver{}}, did.CacheConfig{})
}

func partyOf(t *testing.T, id *identity.Identity) *agenttest.Party {
	t.Helper()
	r := methods()
	p, err := envelope.New(envelope.Config{Keys: id, Resolver: r})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	return &agenttest.Party{DID: id.DID(), Keys: keys, Resolver: r, Packer: p}
}

// take opens a packet, and checks the names in all of its layers.
func (l *literal) take(p transport.Packet) {
	var jwe struct {
		Protected  string
		Recipients []struct{ Header struct{ KID string } }
	}
	l.decode(string(p.Data), &jwe)
	text, err := base64.RawURLEncoding.DecodeString(jwe.Protected)
	if err != nil {
		l.t.Error(err)
	}
	var header struct{ SKID, APU string }
	l.decode(string(text), &header)
	l.name("skid", header.SKID)
	apu, err := base64.RawURLEncoding.DecodeString(header.APU)
	if err != nil {
		l.t.Error(err)
	}
	l.name("apu", string(apu))
	for _, r := range jwe.Recipients {
		l.name("kid", r.Header.KID)
	}
	u, err := l.Packer.Unpack(context.Background(), p.Data)
	if err != nil {
		l.t.Errorf("cannot open: %v", err)
		return
	}
	l.name("from", u.Message.From)
	for _, to := range u.Message.To {
		l.name("to", to)
	}
	var body struct{ Next string }
	if len(u.Message.Body) > 0 {
		l.decode(string(u.Message.Body), &body)
	}
	l.name("next", body.Next)
	l.name("signer", u.Metadata.SignFrom)
	l.got <- u
}

func (l *literal) decode(text string, v any) {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		l.t.Errorf("%s: %v", text, err)
	}
}

func (l *literal) name(what, id string) {
	if strings.HasPrefix(id, "did:peer:4") && strings.Count(did.Base(id), ":") != 3 {
		l.t.Errorf("%s has the short form %s", what, id)
	}
}

// A did:peer:4 is named by its long form, ours and that of a peer, whatever form the program
// uses. The answer to a message may use a short form that the message has used.
func TestNamesLongForms(t *testing.T) {
	for _, config := range []string{"long", "short"} {
		t.Run("Config.DID in the "+config+" form", func(t *testing.T) {
			own := peer4Of(t, "mem://agent")
			ownShort, _ := didpeer.Short(own.DID())
			m := newMover(t, func(cfg *agent.Config) {
				cfg.DID, cfg.Packer, cfg.Keys, cfg.Resolver = own.DID(), nil, own, methods()
				if config == "short" {
					cfg.DID = ownShort
					// The agent resolves the short form after the long one.
					if _, err := cfg.Resolver.Resolve(t.Context(), own.DID()); err != nil {
						t.Fatal(err)
					}
				}
				cfg.Handler = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
					if in.Message.Type != chatType || !in.Authenticated() {
						return nil
					}
					if strings.HasSuffix(in.Message.ID, "-commit") {
						return w.Commit(ctx, agent.Changes{Send: []*message.Message{{Type: chatType, From: ownShort, To: []string{did.Canonical(in.From)}}}})
					}
					return w.Reply(ctx, &message.Message{Type: chatType})
				})
			})
			peer := newLiteral(t, m.n, "mem://literal", "mem://literal")
			says := func(from, to string, id string) {
				t.Helper()
				e := peer.message(t, m.Agent, chatType, func(e *message.Message) { e.ID, e.From, e.To = id, from, []string{to} })
				peer.give(t, m.Agent, new(call), e, envelope.From(from))
			}
			// A reply to the long forms, and what a Handler commits.
			says(peer.DID, own.DID(), "1")
			peer.next(t)
			says(peer.DID, own.DID(), "2-commit")
			peer.next(t)

			key := own.Document().KeyAgreementKeys()[0].ID
			fragment := key[strings.IndexByte(key, '#'):]
			for name, opts := range map[string][]agent.SendOption{
				"default":       nil,
				"from":          {agent.From(ownShort)},
				"from a key":    {agent.From(ownShort + fragment)},
				"to a key":      {agent.ToKeys(peer.short + "#key-2")},
				"anonymous":     {agent.Anonymous()},
				"signed":        {agent.SignBy(ownShort)},
				"signed by key": {agent.SignBy(ownShort + "#key-1")},
				"protected":     {agent.ProtectSender()},
			} {
				for _, to := range []string{peer.short, peer.DID} {
					if err := m.Send(t.Context(), &message.Message{Type: chatType, To: []string{to}}, append(opts, agent.AwaitDelivery())...); err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					peer.next(t)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			asked := make(chan error, 1)
			go func() {
				_, err := m.Request(ctx, &message.Message{ID: "asked", Type: chatType, From: ownShort, To: []string{peer.short}})
				asked <- err
			}()
			peer.next(t)
			e := peer.message(t, m.Agent, chatType, func(e *message.Message) { e.To, e.ThreadID = []string{own.DID()}, "asked" })
			peer.give(t, m.Agent, new(call), e)
			if err := <-asked; err != nil {
				t.Error(err)
			}

			// from_prior.
			to := newLiteral(t, m.n, "mem://other", "mem://other")
			if _, err := m.Packer().Routes(t.Context(), to.DID); err != nil { // so that its short form is known
				t.Fatal(err)
			}
			jwt, err := m.Packer().FromPrior(t.Context(), ownShort, to.short, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []string{own.DID() + "#", own.DID()} {
				text, err := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[i])
				if err != nil || !strings.Contains(string(text), want) || i == 1 && !strings.Contains(string(text), `"`+to.DID+`"`) {
					t.Errorf("from_prior %s, %v", text, err)
				}
			}
		})
	}
}

// A forward names its recipient, and a mediator with a did:peer:4, by their long forms.
func TestForwardsLongForms(t *testing.T) {
	m := newMover(t, func(cfg *agent.Config) {
		own := peer4Of(t, "mem://agent")
		cfg.DID, cfg.Packer, cfg.Keys, cfg.Resolver = own.DID(), nil, own, methods()
	})
	mediator := newLiteral(t, m.n, "mem://mediator", "mem://mediator")
	if _, err := m.Packer().Routes(t.Context(), mediator.DID); err != nil { // so that its short form is known
		t.Fatal(err)
	}
	for _, by := range []string{mediator.DID, mediator.short} {
		recipient := newLiteral(t, m.n, "mem://"+did.Canonical(by)[12:20]+"-"+by[len(by)-8:], by)
		for _, to := range []string{recipient.DID, recipient.short} {
			if err := m.Send(t.Context(), &message.Message{Type: chatType, To: []string{to}}, agent.AwaitDelivery()); err != nil {
				t.Fatal(err)
			}
			forward := mediator.next(t).Message
			if next := string(forward.Body); !strings.Contains(next, `"`+recipient.DID+`"`) {
				t.Errorf("next %s", next)
			}
			recipient.take(transport.Packet{MediaType: envelope.MediaTypeEncrypted, Data: forward.Attachments[0].Data.JSON})
		}
	}
}
