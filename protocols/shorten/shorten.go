// Package shorten implements Shorten URL 1.0 in messages of DIDComm v2, for out-of-band
// invitations: an agent, such as a mediator, keeps a long URL with an invitation under a short
// one, which makes a smaller QR code.
//
// To have a URL shortened, call [Shorten], and [Invalidate] when the short URL is no longer
// needed. To shorten URLs for others, make a [Shortener] with [New], give [Shortener.Serve] to
// [agent.NewMux], and serve the Shortener at the path of its URL.
//
// # Policy
//
// A Shortener serves those whom Config.Allow admits. It takes only http and https URLs with an
// invitation of version 2.0 in them, as outofband.Parse reads them, not those that lead to an
// address that Config.Address refuses, and the goal codes shorten and shorten.oobv2. No short URL is valid for ever. A slug has 128 random bits; those who ask
// may choose it only with Config.AllowSlugs, since a chosen slug can be guessed.
//
// A GET of the short URL is answered by a redirect (302) to the long URL, or by the invitation
// as JSON if the client accepts application/json. Nothing is told of other short URLs: those
// that never were, that have expired and that were invalidated are answered alike.
package shorten

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message types.
const (
	PIURI          = "https://didcomm.org/shorten-url/1.0"
	TypeRequest    = PIURI + "/request-shortened-url"
	TypeShortened  = PIURI + "/shortened-url"
	TypeInvalidate = PIURI + "/invalidate-shortened-url"
)

// Goal codes of a request.
const (
	Goal    = "shorten"       // any short URL
	GoalOOB = "shorten.oobv2" // a short URL with the parameter _oobid
)

// Problem codes of the protocol. They are the words of its specification, which are no codes by
// the grammar of DIDComm v2.
const (
	CodeValidity     = "validity_too_long"
	CodeURL          = "invalid_url"
	CodeScheme       = "invalid_protocol_scheme"
	CodeGoal         = "invalid_goal_code"
	CodeNoSlugs      = "slugs_not_supported"
	CodeSlug         = "invalid_slug"
	CodeNoSuchURL    = "short_url_invalid"
	CodeInvalidation = "rejected_invalidation"
)

// RequestBody is the body of a message of type [TypeRequest].
type RequestBody struct {
	URL      string `json:"url"`
	Validity *int64 `json:"requested_validity_seconds,omitempty"` // 0 asks for ever, nil leaves the choice to the shortener
	GoalCode string `json:"goal_code"`
	Slug     string `json:"short_url_slug,omitempty"` // empty leaves the choice to the shortener
}

// ShortenedBody is the body of a message of type [TypeShortened].
type ShortenedBody struct {
	URL     string `json:"shortened_url"`
	Expires int64  `json:"expires_time,omitempty"` // seconds since 1970; 0 stands for never
}

// InvalidateBody is the body of a message of type [TypeInvalidate].
type InvalidateBody struct {
	URL string `json:"shortened_url"`
}

// Shorten asks a shortener for a short URL of a long one, which has an invitation in it.
// validity is for how long the short URL is to work, in whole seconds; 0 leaves that to the
// shortener. expires is zero if the short URL works until it is invalidated.
//
// Errors are those of [agent.Agent.Request], and an error for a response of another form. If
// the shortener refuses the URL, the error is a *message.Problem with a code of this package or
// another.
func Shorten(ctx context.Context, a *agent.Agent, shortener, url string, validity time.Duration, opts ...agent.SendOption) (short string, expires time.Time, err error) {
	request := RequestBody{URL: url, GoalCode: GoalOOB}
	if seconds := int64(validity / time.Second); seconds > 0 {
		request.Validity = &seconds
	}
	in, err := ask(ctx, a, shortener, TypeRequest, request, opts...)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("shorten a URL: %w", err)
	}
	var b ShortenedBody
	if !message.Is(in.Message, TypeShortened) {
		return "", time.Time{}, fmt.Errorf("shorten a URL: answered by a message of type %s", in.Message.Type)
	}
	if err := in.Message.DecodeBody(&b); err != nil {
		return "", time.Time{}, fmt.Errorf("shorten a URL: %w", err)
	}
	if !strings.HasPrefix(b.URL, "https://") && !strings.HasPrefix(b.URL, "http://") || len(b.URL) >= len(url) {
		return "", time.Time{}, fmt.Errorf("shorten a URL: the answer is no shorter URL")
	}
	if b.Expires > 0 {
		expires = time.Unix(b.Expires, 0)
	}
	return b.URL, expires, nil
}

// Invalidate asks a shortener to end a short URL. Errors are those of [Shorten].
func Invalidate(ctx context.Context, a *agent.Agent, shortener, short string, opts ...agent.SendOption) error {
	if _, err := ask(ctx, a, shortener, TypeInvalidate, InvalidateBody{short}, opts...); err != nil {
		return fmt.Errorf("invalidate a short URL: %w", err)
	}
	return nil
}

func ask(ctx context.Context, a *agent.Agent, to, typ string, body any, opts ...agent.SendOption) (*agent.Inbound, error) {
	m, err := message.New(typ, body)
	if err != nil {
		return nil, err
	}
	m.To = []string{to}
	if typ == TypeInvalidate {
		m.PleaseAck = []string{""} // the answer is an ack
	}
	return a.Request(ctx, m, opts...)
}
