package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// maxFromPrior is the largest size of the JWT, in bytes. Two DIDs and a signature need far
// less.
const maxFromPrior = 64 << 10

// FromPrior returns a JWT for the from_prior header of a message (DIDComm v2.1, DID
// Rotation). The JWT proves that the DID of prior has been replaced by the DID sub at the
// time at. An empty sub ends the relationship: then the message must have no from header.
//
// Make the JWT once for each rotation. Set FromPrior of each message that sub sends to the
// peer, until a message of the peer comes to sub.
//
// prior is a DID, or the DID URL of the authentication key that is to sign. We must hold an
// authentication key of prior. sub is a DID. The JWT has both in the form of [Packer.Long].
//
// The error matches a class of this package. It matches ErrFromPrior if sub is not a DID or
// is that of prior, or ErrNoKey; others are those of Keys and the Resolver.
func (p *Packer) FromPrior(ctx context.Context, prior, sub string, at time.Time) (_ string, err error) {
	defer classify(&err)
	prior, sub = p.Long(ctx, prior), p.Long(ctx, sub)
	if sub != "" {
		if _, err := did.Parse(sub); err != nil {
			return "", fmt.Errorf("%w: new DID: %w", ErrFromPrior, err)
		}
		if sameParty(prior, sub) {
			return "", fmt.Errorf("%w: %s rotates to itself", ErrFromPrior, sub)
		}
	}
	s, err := p.signer(ctx, prior)
	if err != nil {
		return "", err
	}
	claims := jwt.NewBuilder().Issuer(did.Base(s.KID)).IssuedAt(at)
	if sub != "" {
		claims = claims.Subject(sub)
	}
	token, err := claims.Build()
	if err != nil {
		return "", err
	}
	payload, err := jwt.NewSerializer().Serialize(token)
	if err != nil {
		return "", err
	}
	signed, err := jws.SignCompact("JWT", payload, s)
	if err != nil {
		return "", outside{err}
	}
	return signed, nil
}

// checkFromPrior verifies the from_prior header of the message. In the first answer after a
// rotation, some agents encrypt with the key of the DID that they leave, and set from to the
// new DID. Only a from_prior that links exactly these two DIDs permits that.
func (o *opening) checkFromPrior(ctx context.Context) error {
	m, p := o.msg, o.p
	fail := func(err error) error { return fmt.Errorf("%w: %w", ErrFromPrior, err) }
	limits := p.jws
	limits.MaxBytes = min(limits.MaxBytes, maxFromPrior)
	env, err := jws.Parse([]byte(m.FromPrior), limits)
	if err != nil {
		return fail(err)
	}
	if !env.Compact {
		return fail(errors.New("not a JWT"))
	}
	token, err := p.parseClaims(env.Payload)
	if err != nil {
		return fail(fmt.Errorf("claims: %w", err))
	}
	kid, f := env.Signatures[0].KID, &FromPrior{Iss: token.Issuer(), Sub: token.Subject(), IssuedAt: token.IssuedAt()}
	var deviations []message.Deviation
	if strings.HasPrefix(kid, "#") {
		deviations = append(deviations, message.Deviation{Code: DeviationFromPriorKID, Detail: fmt.Sprintf("%.200s stands for a key of iss", kid)})
		kid = f.Iss + kid
	}
	another := o.auth && o.fromAnother()
	switch {
	case f.Iss == "" || f.Iss != did.Base(f.Iss) || !sameParty(f.Iss, kid):
		return fail(fmt.Errorf("iss %.200q is not the DID of the key %.200s", f.Iss, kid))
	case f.Sub != did.Base(f.Sub) || f.Sub != "" && !sameParty(f.Sub, m.From):
		return fail(fmt.Errorf("sub %.200q is not from %.200q", f.Sub, m.From))
	case f.Sub == "" && m.From != "":
		return fail(errors.New("no sub, but the message has a from"))
	case f.Sub != "" && sameParty(f.Sub, f.Iss):
		return fail(errors.New("sub is iss"))
	case another && !sameParty(f.Iss, o.meta.EncryptedFromKID):
		return o.senderMismatch()
	case another:
		deviations = append(deviations, message.Deviation{
			Code: DeviationFromPriorSender, Detail: fmt.Sprintf("encrypted by %.200s, which rotates to from", f.Iss),
		})
	}
	if err := jwt.Validate(token, jwt.WithClock(jwt.ClockFunc(p.cfg.Now)), jwt.WithAcceptableSkew(5*time.Minute)); err != nil {
		return fail(err)
	}
	err = p.withPeer(ctx, "issuer of from_prior", longer(kid, f.Iss), func(doc *did.Document) error {
		methods := pick(doc, doc.AuthenticationKeys(), kid)
		if len(methods) != 1 || did.Base(kid) == kid {
			return fail(fmt.Errorf("%.200s is not an authentication key of its DID", kid))
		}
		key, err := methods[0].PublicKey()
		if err != nil {
			return fail(err)
		}
		o.meta.FromPriorIssuerKID = methods[0].ID
		if err := env.Verify(0, key); err != nil {
			return fail(err)
		}
		return nil
	})
	switch {
	case err == nil:
	case isFinal(err):
		return fail(err)
	default:
		return err
	}
	o.meta.FromPrior = f
	return o.tolerate(append(deviations, slices.DeleteFunc(env.Deviations, func(d message.Deviation) bool {
		// A JWT has a typ of its own and is always compact.
		return d.Code == DeviationSerialization || d.Code == DeviationTyp
	})...)...)
}

// parseClaims reads the claims of a JWT. jwt.ParseInsecure alone would accept a JWT in the
// place of the claims, and several claims of one name.
func (p *Packer) parseClaims(payload []byte) (jwt.Token, error) {
	if payload = bytes.TrimSpace(payload); !bytes.HasPrefix(payload, []byte("{")) {
		return nil, fmt.Errorf("%w: not an object", ErrMalformed)
	}
	if err := jose.Check(payload, p.cfg.MaxDepth); err != nil {
		return nil, err
	}
	return jwt.ParseInsecure(payload)
}
