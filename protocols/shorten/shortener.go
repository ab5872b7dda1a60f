package shorten

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/outofband"
)

// collection has a record of each short URL, under its slug.
const collection = "shorten/url"

// slugBytes is the size of a random slug, and the others are the sizes of a chosen slug.
const (
	slugBytes          = 16
	minSlug, maxSlug   = 4, 64
	slugOther          = "-_"
	defaultPerAccount  = 100
	defaultMaxURLs     = 100_000
	defaultMaxValidity = 30 * 24 * time.Hour
)

// Config configures [New]. URL, Records and Allow are required.
type Config struct {
	// URL is the http or https URL at which the Shortener is served, without query and
	// fragment. A short URL is this URL with the parameter _oobid.
	URL string
	// Records keeps the URLs. They must be those of the store of the agent that serves.
	Records store.Records
	// Allow returns an error for a DID that may not have URLs shortened. The error is one of an
	// agent.Handler: a *message.Problem is reported to the sender.
	Allow func(ctx context.Context, did string) error
	// Address returns an error for an address to which URLs must not lead, such as that of a
	// machine in the private network of the reader. The names of localhost are ::1. Other names are
	// not looked up. nil allows all addresses.
	Address func(netip.Addr) error
	// AllowSlugs lets those who ask choose the slug: 4 to 64 letters, digits, "-" and "_".
	AllowSlugs bool
	// MaxValidity is the longest time that a short URL is valid, and the time if a request names
	// none. Default: 30 days.
	MaxValidity time.Duration
	// MaxPerDID bounds the short URLs of one DID, and MaxURLs those of all. Default: 100, and
	// 100,000.
	MaxPerDID, MaxURLs int
}

// Shortener shortens URLs for others. It is the http.Handler of its short URLs. Make one with
// [New].
type Shortener struct{ cfg Config }

// New returns a Shortener. It returns an error if cfg lacks a required field, or its URL is no
// http or https URL.
func New(cfg Config) (*Shortener, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("shortener: URL %q: want http://HOST/PATH or https", cfg.URL)
	case cfg.Records == nil || cfg.Allow == nil:
		return nil, errors.New("shortener: Records and Allow are required")
	}
	if cfg.MaxValidity <= 0 {
		cfg.MaxValidity = defaultMaxValidity
	}
	if cfg.MaxPerDID <= 0 {
		cfg.MaxPerDID = defaultPerAccount
	}
	if cfg.MaxURLs <= 0 {
		cfg.MaxURLs = defaultMaxURLs
	}
	return &Shortener{cfg}, nil
}

// entry is the value of a record.
type entry struct {
	URL   string `json:"url"`
	Owner string `json:"owner"` // did.Canonical
}

// Serve returns an option of [agent.NewMux] that answers requests.
func (s *Shortener) Serve() agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"url-shortener"},
		Messages: map[string]agent.Handler{
			TypeRequest:    agent.HandlerFunc(s.request),
			TypeInvalidate: agent.HandlerFunc(s.invalidate),
		},
		Ordered: true, // so that a sender cannot pass MaxPerDID by requests at the same time
	})
}

func problem(code, comment string, args ...string) *message.Problem {
	return &message.Problem{Code: code, Comment: comment, Args: args}
}

func (s *Shortener) allow(ctx context.Context, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	return s.cfg.Allow(ctx, in.From)
}

// request handles a request-shortened-url.
func (s *Shortener) request(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if err := s.allow(ctx, in); err != nil {
		return err
	}
	var b RequestBody
	if err := in.Message.DecodeBody(&b); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	validity, err := s.check(&b)
	if err != nil {
		return err
	}
	owner := did.Canonical(in.From)
	have, err := s.cfg.Records.List(ctx, store.Query{Collection: collection, Index: owner, N: s.cfg.MaxPerDID})
	if err != nil {
		return agent.Retry(0, err)
	}
	if len(have) >= s.cfg.MaxPerDID {
		return problem("e.p.me.res.short-urls", "There are {1} short URLs of yours. Invalidate one first.", fmt.Sprint(len(have)))
	}
	slug := b.Slug
	if slug == "" {
		random := make([]byte, slugBytes)
		_, _ = rand.Read(random) // never fails
		slug = base64.RawURLEncoding.EncodeToString(random)
	} else if _, err := s.cfg.Records.Get(ctx, collection, slug); err == nil {
		return problem(CodeSlug, "The slug is taken.")
	}
	value, err := json.Marshal(entry{b.URL, owner})
	if err != nil {
		return err
	}
	expires := time.Now().Add(validity).Truncate(time.Second)
	answer, err := message.New(TypeShortened, ShortenedBody{s.cfg.URL + "?_oobid=" + slug, expires.Unix()})
	if err != nil {
		return err
	}
	err = w.Commit(ctx, agent.Changes{
		Put: []store.Record{{
			Collection: collection, Key: slug, Value: value, Index: []string{owner}, Expires: expires, Limit: s.cfg.MaxURLs,
		}},
		Send: []*message.Message{answer},
	})
	if errors.Is(err, store.ErrFull) {
		return problem("e.p.me.res.storage", "There is no room for another short URL.")
	}
	return err
}

// check returns for how long a short URL is valid, or the problem of the request.
func (s *Shortener) check(b *RequestBody) (time.Duration, error) {
	u, err := url.Parse(b.URL)
	switch {
	case b.GoalCode != Goal && b.GoalCode != GoalOOB:
		return 0, problem(CodeGoal, "Goal codes are {1} and {2}.", Goal, GoalOOB)
	case err != nil || u.Scheme == "":
		return 0, problem(CodeURL, "This is not a URL.")
	case u.Scheme != "http" && u.Scheme != "https":
		return 0, problem(CodeScheme, "Only http and https URLs are shortened.")
	case u.Host == "" || u.User != nil || len(s.cfg.URL) >= len(b.URL):
		return 0, problem(CodeURL, "The URL cannot be shortened.")
	}
	if err := s.leads(u.Hostname()); err != nil {
		return 0, &message.Problem{Code: CodeURL, Comment: "URLs to this host are not shortened.", Err: err}
	}
	if _, err := outofband.Parse(b.URL); err != nil {
		return 0, &message.Problem{Code: CodeURL, Comment: "Only URLs with an out-of-band invitation in _oob are shortened.", Err: err}
	}
	if b.Slug != "" {
		switch {
		case !s.cfg.AllowSlugs:
			return 0, problem(CodeNoSlugs, "Slugs cannot be chosen.")
		case !validSlug(b.Slug):
			return 0, problem(CodeSlug, "A slug has {1} to {2} letters, digits, - and _.", fmt.Sprint(minSlug), fmt.Sprint(maxSlug))
		}
	}
	if b.Validity == nil {
		return s.cfg.MaxValidity, nil
	}
	most := int64(s.cfg.MaxValidity / time.Second)
	if *b.Validity <= 0 || *b.Validity > most {
		return 0, problem(CodeValidity, "A short URL is valid for 1 to {1} seconds.", fmt.Sprint(most))
	}
	return time.Duration(*b.Validity) * time.Second, nil
}

// leads returns an error if a URL must not lead to a host.
func (s *Shortener) leads(host string) error {
	if s.cfg.Address == nil {
		return nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return s.cfg.Address(netip.IPv6Loopback())
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return s.cfg.Address(addr)
	}
	// Browsers take a host whose last part is a number for an IPv4 address, in forms such as 127.1.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return fmt.Errorf("host %q is no name", host)
	}
	return nil
}

func validSlug(s string) bool {
	return len(s) >= minSlug && len(s) <= maxSlug && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(slugOther, c)
	})
}

// invalidate handles an invalidate-shortened-url.
func (s *Shortener) invalidate(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if err := s.allow(ctx, in); err != nil {
		return err
	}
	var b InvalidateBody
	if err := in.Message.DecodeBody(&b); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	gone := problem(CodeNoSuchURL, "There is no such short URL.")
	slug, ok := strings.CutPrefix(b.URL, s.cfg.URL+"?_oobid=")
	if !ok || !validSlug(slug) {
		return gone
	}
	r, err := s.cfg.Records.Get(ctx, collection, slug)
	if errors.Is(err, store.ErrNotFound) {
		return gone
	}
	var e entry
	if err == nil {
		err = json.Unmarshal(r.Value, &e)
	}
	if err != nil {
		return agent.Retry(0, err)
	}
	if e.Owner != did.Canonical(in.From) {
		return problem(CodeInvalidation, "Only the DID that has asked for the short URL can invalidate it.")
	}
	ack, err := message.New(empty.TypeEmpty, nil)
	if err != nil {
		return err
	}
	ack.Ack = []string{in.Message.ID}
	return w.Commit(ctx, agent.Changes{Delete: []store.Record{r}, Send: []*message.Message{ack}})
}
