package envelope_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// classes returns the error classes of package envelope that err matches.
func classes(err error) []error {
	return slices.DeleteFunc([]error{
		envelope.ErrNotForUs, envelope.ErrRefused, envelope.ErrMalformed, envelope.ErrTryLater, envelope.ErrInternal,
	}, func(class error) bool { return !errors.Is(err, class) })
}

// classOf returns the class that an error of Unpack must have if it matches rule.
func classOf(err, rule error) error {
	switch rule {
	case envelope.ErrNoKey:
		return envelope.ErrNotForUs
	case envelope.ErrMalformed, envelope.ErrTooLarge, envelope.ErrTooDeep, envelope.ErrTooManyRecipients, envelope.ErrTooManySignatures:
		return envelope.ErrMalformed
	case envelope.ErrDuplicateName:
		if errors.Is(err, message.ErrInvalid) {
			return envelope.ErrMalformed
		}
		return envelope.ErrRefused
	case envelope.ErrFromPrior:
		if errors.Is(err, envelope.ErrMalformed) {
			return envelope.ErrMalformed // the JWT
		}
		return envelope.ErrRefused
	case envelope.ErrDecrypt, envelope.ErrSignature, envelope.ErrSenderMismatch, envelope.ErrSignerMismatch,
		envelope.ErrRecipientMismatch, envelope.ErrHeaderConflict, envelope.ErrUnprotectedAlg, envelope.ErrUnsupportedAlg,
		envelope.ErrInvalidPoint, envelope.ErrLowOrderPoint, envelope.ErrNesting, envelope.ErrCritical, envelope.ErrCompressed,
		did.ErrNotFound, did.ErrInvalid, did.ErrMethod, did.ErrUnsupported, did.ErrRefused:
		return envelope.ErrRefused
	}
	return envelope.ErrTryLater // of Keys or the Resolver
}

// faulty are keys whose store, or whose handles, fail with an error.
type faulty struct {
	of     *agent
	handle bool
	err    error
}

func (f faulty) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	key, err := f.of.keys.KeyAgreement(ctx, kid)
	if err != nil || !f.handle {
		return nil, errors.Join(err, f.err)
	}
	return faultyHandle{key, f.err}, nil
}

func (f faulty) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	return nil, f.err
}

func (f faulty) Own(context.Context, string) (string, error) { return "", f.err }

func (f faulty) DIDs(context.Context, int) ([]string, error) { return nil, f.err }

type faultyHandle struct {
	ecdh.KeyExchanger
	err error
}

func (h faultyHandle) ECDH(*ecdh.PublicKey) ([]byte, error) { return nil, h.err }

// TestClassOfOutside checks the class for all errors that Keys and the Resolver can return.
func TestClassOfOutside(t *testing.T) {
	away := errors.New("away")
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"away", away, envelope.ErrTryLater},
		{"canceled", context.Canceled, envelope.ErrTryLater},
		{"late", context.DeadlineExceeded, envelope.ErrTryLater},
		{"late and not found", errors.Join(context.DeadlineExceeded, did.ErrNotFound), envelope.ErrTryLater},
		{"not found", did.ErrNotFound, envelope.ErrRefused},
		{"invalid", did.ErrInvalid, envelope.ErrRefused},
		{"method", did.ErrMethod, envelope.ErrRefused},
		{"unsupported", did.ErrUnsupported, envelope.ErrRefused},
		{"refused", did.ErrRefused, envelope.ErrRefused},
		{"broken, as it says", envelope.ErrInternal, envelope.ErrInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			prior := newAgent(t, "did:example:prior", "x25519", "ed25519")
			w.add(prior)
			to := []envelope.PackOption{envelope.From(aliceDID)}
			m := newMessage(t, w.alice, w.bob)
			plain := pack1(t, w.packer(t, w.alice), m, to...).Data
			signed := pack1(t, w.packer(t, w.alice), m, append(to, envelope.SignBy(aliceDID))...).Data
			token, err := w.packer(t, prior).FromPrior(t.Context(), prior.did, aliceDID, now)
			if err != nil {
				t.Fatal(err)
			}
			m.FromPrior = token
			rotated := pack1(t, w.packer(t, w.alice), m, to...).Data
			lost := func(id string) func(*envelope.Config) {
				return func(cfg *envelope.Config) {
					cfg.Resolver = did.ResolverFunc(func(ctx context.Context, asked string) (*did.Document, error) {
						if asked == id {
							return nil, tt.err
						}
						return w.Resolve(ctx, asked)
					})
				}
			}
			keys := func(handle bool) func(*envelope.Config) {
				return func(cfg *envelope.Config) { cfg.Keys = faulty{w.bob, handle, tt.err} }
			}
			peer := tt.want
			if tt.err == did.ErrRefused {
				peer = envelope.ErrTryLater // as if the address could not be reached
			}
			for name, data := range map[string][]byte{"sender": plain, "signer": signed} {
				_, err := w.packer(t, w.bob, lost(aliceDID)).Unpack(t.Context(), data)
				checkClass(t, name, err, peer, tt.err)
			}
			_, err = w.packer(t, w.bob, lost(prior.did)).Unpack(t.Context(), rotated)
			checkClass(t, "issuer of from_prior", err, peer, tt.err)
			for _, handle := range []bool{false, true} {
				_, err := w.packer(t, w.bob, keys(handle)).Unpack(t.Context(), plain)
				checkClass(t, "our key", err, tt.want, tt.err)
				m := newMessage(t, w.bob, w.alice)
				_, err = w.packer(t, w.bob, keys(handle)).Pack(t.Context(), m, envelope.From(bobDID))
				checkClass(t, "our key to send", err, tt.want, tt.err)
			}
			_, err = w.packer(t, w.bob, keys(false)).Pack(t.Context(), newMessage(t, w.bob, w.alice), envelope.SignBy(bobDID))
			checkClass(t, "our key to sign", err, tt.want, tt.err)
			_, err = w.packer(t, w.bob, lost(aliceDID)).Routes(t.Context(), aliceDID)
			checkClass(t, "routes", err, tt.want, tt.err)
			e := envelope.Envelope{MediaType: envelope.MediaTypeEncrypted, Data: plain, To: bobDID}
			_, err = w.packer(t, w.bob, lost(aliceDID)).Forward(t.Context(), e, []string{aliceDID})
			checkClass(t, "forward", err, tt.want, tt.err)
		})
	}
}

// TestClassOfPack checks the class of errors of Pack, Forward and FromPrior themselves.
func TestClassOfPack(t *testing.T) {
	w := newWorld(t)
	p := w.packer(t, w.alice)
	pack := func(m *message.Message, opts ...envelope.PackOption) error {
		_, err := p.Pack(t.Context(), m, opts...)
		return err
	}
	toBob := newMessage(t, w.alice, w.bob)
	_, routed := p.Forward(t.Context(), envelope.Envelope{MediaType: message.MediaType}, []string{bobDID})
	_, rotated := p.FromPrior(t.Context(), aliceDID, aliceDID, now)
	for _, tt := range []struct {
		name       string
		err        error
		rule, want error
	}{
		{"nobody", pack(newMessage(t, w.alice)), envelope.ErrNoRecipient, envelope.ErrRefused},
		{"another's key", pack(newMessage(t, w.bob, w.alice), envelope.From(bobDID)), envelope.ErrNoKey, envelope.ErrNotForUs},
		{"another sender", pack(toBob, envelope.From(bobDID)), envelope.ErrSenderMismatch, envelope.ErrRefused},
		{"no id", pack(&message.Message{Type: toBob.Type, From: aliceDID, To: []string{bobDID}}), message.ErrInvalid, envelope.ErrMalformed},
		{"plaintext in a forward", routed, envelope.ErrService, envelope.ErrRefused},
		{"rotation to itself", rotated, envelope.ErrFromPrior, envelope.ErrRefused},
	} {
		checkClass(t, tt.name, tt.err, tt.want, tt.rule)
	}
}

// TestClassOfDeviation checks the class of a DeviationError.
func TestClassOfDeviation(t *testing.T) {
	w := newWorld(t)
	p := peerJWE{plaintext: text(t, nil, nil, nil), to: []peerRecipient{w.bob.recipient("x25519")}, form: "compact"}
	_, err := w.packer(t, w.bob, strict).Unpack(t.Context(), p.seal(t))
	var deviation *envelope.DeviationError
	if got := classes(err); !slices.Equal(got, []error{envelope.ErrRefused}) || !errors.As(err, &deviation) {
		t.Errorf("%v has the classes %v", err, got)
	}
}

// checkClass checks that err has exactly one class and matches reason.
func checkClass(t *testing.T, what string, err, class, reason error) {
	t.Helper()
	if got := classes(err); !slices.Equal(got, []error{class}) || !errors.Is(err, reason) {
		t.Errorf("%s: %v has the classes %v, want %v", what, err, got, class)
	}
}
