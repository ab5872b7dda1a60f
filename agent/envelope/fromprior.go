package envelope

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// maxFromPrior bounds the JWT in bytes; two DIDs and a signature need far less.
const maxFromPrior = 64 << 10

// FromPrior returns the JWT for a message's from_prior: the party of prior, a
// DID or the DID URL of one of its authentication keys, is sub from at on. An
// empty sub ends the relationship (DIDComm v2.1, DID Rotation).
func (p *Packer) FromPrior(ctx context.Context, prior, sub string, at time.Time) (string, error) {
	if sub != "" && sameParty(prior, sub) {
		return "", fmt.Errorf("%w: %s rotates to itself", ErrFromPrior, sub)
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
	return jws.SignCompact("JWT", payload, s)
}

// checkFromPrior verifies the from_prior of m.
func (p *Packer) checkFromPrior(ctx context.Context, m *message.Message) (*FromPrior, string, error) {
	fail := func(err error) (*FromPrior, string, error) {
		return nil, "", fmt.Errorf("%w: %w", ErrFromPrior, err)
	}
	limits := p.jws
	limits.MaxBytes = min(limits.MaxBytes, maxFromPrior)
	env, err := jws.Parse([]byte(m.FromPrior), limits)
	if err != nil {
		return fail(err)
	}
	if len(env.Signatures) != 1 || !env.Signatures[0].KIDProtected {
		return fail(errors.New("not a JWT with one protected kid"))
	}
	token, err := jwt.ParseInsecure(env.Payload)
	if err != nil {
		return fail(fmt.Errorf("claims: %w", err))
	}
	kid, f := env.Signatures[0].KID, &FromPrior{Iss: token.Issuer(), Sub: token.Subject(), IssuedAt: token.IssuedAt()}
	switch {
	case f.Iss == "" || f.Iss != did.Base(f.Iss) || !sameParty(f.Iss, kid):
		return fail(fmt.Errorf("iss %.200q is not the DID of the key %.200s", f.Iss, kid))
	case f.Sub != "" && !sameParty(f.Sub, m.From):
		return fail(fmt.Errorf("sub %.200q is not from %.200q", f.Sub, m.From))
	case f.Sub == "" && m.From != "":
		return fail(errors.New("no sub, but the message has a from"))
	case f.Sub != "" && sameParty(f.Sub, f.Iss):
		return fail(errors.New("sub is iss"))
	}
	if err := jwt.Validate(token, jwt.WithClock(jwt.ClockFunc(p.cfg.Now)), jwt.WithAcceptableSkew(5*time.Minute)); err != nil {
		return fail(err)
	}
	doc, err := p.resolve(ctx, kid)
	if err != nil {
		return fail(err)
	}
	methods := pick(doc, doc.AuthenticationKeys(), kid)
	if len(methods) != 1 || did.Base(kid) == kid {
		return fail(fmt.Errorf("%.200s is not an authentication key of its DID", kid))
	}
	key, err := methods[0].PublicKey()
	if err != nil {
		return fail(err)
	}
	if err := env.Verify(0, key); err != nil {
		return fail(err)
	}
	return f, methods[0].ID, nil
}
