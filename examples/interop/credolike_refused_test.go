package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
)

// protected: the agent does not look for an envelope in an envelope.
func (c *credo) protected(ctx context.Context, t *testing.T) (string, error) {
	return "status 500, each time: it takes the inner envelope for the message", c.refused(ctx, t, func(us *talker, m *message.Message, flaw bool) ([]byte, error) {
		opts := []envelope.PackOption{envelope.From(us.DID())}
		if flaw {
			opts = append(opts, envelope.ProtectSender())
		}
		sealed, err := us.packer.Pack(ctx, m, opts...)
		if err != nil {
			return nil, err
		}
		return sealed[0].Data, nil
	})
}

// shortForm: the agent does not keep the documents of long forms.
func (c *credo) shortForm(ctx context.Context, t *testing.T) (string, error) {
	return "status 500, each time: it resolves the long form alone", c.refused(ctx, t, func(us *talker, m *message.Message, flaw bool) ([]byte, error) {
		if flaw {
			short, ok := didpeer.Short(m.From)
			if !ok {
				return nil, fmt.Errorf("%s has no short form", m.From)
			}
			m.From = short
		}
		plaintext, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		from := us.Document().KeyAgreementKeys()[0].ID
		key, err := us.ring.KeyAgreement(ctx, from)
		if err != nil {
			return nil, err
		}
		theirs, err := us.resolver.Resolve(ctx, m.To[0])
		if err != nil {
			return nil, err
		}
		to, err := theirs.KeyAgreementKeys()[0].ECDH()
		if err != nil {
			return nil, err
		}
		_, fragment, _ := strings.Cut(from, "#")
		return (&craft.JWE{
			From: &craft.AgreeKey{KID: m.From + "#" + fragment, Key: key},
			To:   []craft.AgreeKey{craft.RecipientKey(theirs.KeyAgreementKeys()[0].ID, to)},
		}).Seal(plaintext), nil
	})
}

// talker is a did:peer:4 with its keys.
type talker struct {
	*identity.Identity
	ring     *keyring.Keyring
	resolver did.Resolver
	packer   *envelope.Packer
}

func newTalker(t *testing.T) *talker {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer4(pair)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	resolver := did.Methods{"peer": didpeer.NewResolver()}
	packer, err := envelope.New(envelope.Config{Keys: ring, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return &talker{id, ring, resolver, packer}
}

// refused posts an envelope that the agent takes, and twice one with a flaw that it does
// not take.
func (c *credo) refused(ctx context.Context, t *testing.T, seal func(us *talker, m *message.Message, flaw bool) ([]byte, error)) error {
	them := c.by(t, "http")
	for i, want := range []int{http.StatusOK, http.StatusInternalServerError, http.StatusInternalServerError} {
		us := newTalker(t)
		m, err := message.New(credolike.TypeEmpty, struct{}{})
		if err != nil {
			return err
		}
		m.ID, m.From, m.To = message.NewID(), us.DID(), []string{them.Invitation()}
		data, err := seal(us, m, i > 0)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, them.URL("http"), bytes.NewReader(data))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/didcomm-envelope-enc")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			return fmt.Errorf("status %d, want %d: %v", resp.StatusCode, want, them.Failures())
		}
	}
	return nil
}
