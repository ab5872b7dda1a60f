package mediation

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// ClientConfig is the configuration of a [Client]. Agent, Mediator and Set are required. A zero in
// any other field means the default.
type ClientConfig struct {
	Agent    *agent.Agent
	Mediator string // the DID of the mediator
	// Set has the identities. Those whose document names the mediator as an endpoint are
	// registered.
	Set *identity.Set
	// DID is the DID of ours that enrolls, and that picks up the mail. The default is that of
	// the Agent.
	DID string
	// Replaces is the DID of ours that had the account before, if DID has replaced it.
	Replaces string
	// Token is shown to the mediator to be admitted: see [Token].
	Token string
	// Poll is how often the Client looks for identities that have changed. The default is 5
	// seconds.
	Poll time.Duration
	// Interval is how often the Client compares its identities with the list of the mediator,
	// even if none has changed. The default is 1 hour.
	Interval time.Duration
	// MinBackoff is the delay after a failure. The delay doubles with each further failure up
	// to MaxBackoff. The defaults are 1 second and 5 minutes.
	MinBackoff, MaxBackoff time.Duration
	Logger                 *slog.Logger
	Now                    func() time.Time
}

// Client makes the list of a mediator fit the identities of an agent. An identity is
// registered in each form by which senders may call it: its DID, both forms of a
// did:peer:4, and the did:key of its X25519 key. Registrations by the
// Client are removed when their identity has ended (identity.Set.Retire) or was removed.
//
// The Client has no queue: it compares both lists, and so goes on after a crash of either
// side. Registrations by others for the account, such as another device, stay as they are.
//
// All methods may be called at the same time from many goroutines.
type Client struct {
	cfg ClientConfig

	mu     sync.Mutex // serialises all requests to the mediator; guards all below
	grant  *Grant
	seen   uint64    // position in Set.List
	next   time.Time // when the next identity ends
	synced time.Time // when Reconcile has succeeded last
}

// NewClient returns a Client.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Agent == nil || cfg.Set == nil {
		return nil, errors.New("mediation: ClientConfig needs Agent and Set")
	}
	if _, err := did.Parse(cfg.Mediator); err != nil {
		return nil, fmt.Errorf("mediation: mediator: %w", err)
	}
	cfg.DID = cmp.Or(cfg.DID, cfg.Agent.DID())
	cfg.Poll = cmp.Or(max(cfg.Poll, 0), 5*time.Second)
	cfg.Interval = cmp.Or(max(cfg.Interval, 0), time.Hour)
	cfg.MinBackoff = cmp.Or(max(cfg.MinBackoff, 0), time.Second)
	cfg.MaxBackoff = cmp.Or(max(cfg.MaxBackoff, 0), 5*time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{cfg: cfg}, nil
}

// Run reconciles at the start, whenever an identity has changed, and at each Interval. After a
// failure it tries again. Run returns nil when ctx ends.
func (c *Client) Run(ctx context.Context) error {
	var failures int
	for {
		wait := c.cfg.Poll
		if err := c.follow(ctx); err != nil && ctx.Err() == nil {
			wait = min(c.cfg.MaxBackoff, c.cfg.MinBackoff<<min(failures, 20))
			wait = wait/2 + rand.N(wait/2+1)
			failures++
			c.cfg.Logger.WarnContext(ctx, "recipients not reconciled with the mediator", "mediator", c.cfg.Mediator, "retry", wait, "error", err)
		} else {
			failures = 0
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// follow reconciles if that is due.
func (c *Client) follow(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	due := c.synced.IsZero() || now.Sub(c.synced) >= c.cfg.Interval || now.Before(c.synced) || !c.next.IsZero() && !now.Before(c.next)
	if !due {
		list, err := c.cfg.Set.List(ctx, c.seen, 1)
		if err != nil {
			return err
		}
		due = len(list) > 0
	}
	if !due {
		return nil
	}
	return c.retried(ctx, c.reconcile)
}

// Grant enrolls if the Client has not done so yet, and returns what the mediator has granted.
// Errors are those of [Enroll].
func (c *Client) Grant(ctx context.Context) (*Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.granted(ctx)
}

// Register registers an identity of the Set, and returns when the mediator has done so. Call it
// before the DID is given out. Errors are ErrRefused, store.ErrNotFound if the Set does not have
// the identity, and those of [Enroll] and [Update].
func (c *Client) Register(ctx context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retried(ctx, func(ctx context.Context) error {
		member, err := c.cfg.Set.Get(ctx, id)
		if err != nil {
			return err
		}
		names, _, err := c.names(ctx, member)
		if err != nil {
			return err
		}
		return c.add(ctx, names)
	})
}

// Reconcile compares the identities of the Set with the list of the mediator, and makes the
// list fit. Errors are those of Register.
func (c *Client) Reconcile(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retried(ctx, c.reconcile)
}

// retried calls f, and once more if the mediator has forgotten us.
func (c *Client) retried(ctx context.Context, f func(context.Context) error) error {
	for again := range 2 {
		if _, err := c.granted(ctx); err != nil {
			return err
		}
		err := f(ctx)
		if again == 1 || !errors.Is(err, ErrNotEnrolled) {
			return err
		}
		c.grant = nil
	}
	return nil
}

func (c *Client) granted(ctx context.Context) (*Grant, error) {
	if c.grant == nil {
		g, err := Enroll(ctx, c.cfg.Agent, c.cfg.Mediator, As(c.cfg.DID), Token(c.cfg.Token), Replaces(c.cfg.Replaces))
		if err != nil {
			return nil, err
		}
		c.grant = g
	}
	return c.grant, nil
}

// entry is a name of the identity did.
type entry struct{ form, did string }

// names returns the names of an identity for senders, and whether its document has the mediator
// as an endpoint.
func (c *Client) names(ctx context.Context, m identity.Member) (names []entry, mediated bool, err error) {
	doc, err := c.cfg.Set.Resolve(ctx, m.DID)
	if err != nil {
		return nil, false, err
	}
	names = []entry{{m.DID, m.DID}}
	if short := did.Canonical(m.DID); short != m.DID {
		names = append(names, entry{short, m.DID})
	}
	for _, k := range doc.KeyAgreementKeys() {
		key, err := k.PublicKey()
		if err != nil || !isX25519(key) {
			continue
		}
		if text, err := did.FormatMultikey(key); err == nil {
			names = append(names, entry{"did:key:" + text, m.DID})
		}
	}
	for _, e := range doc.DIDCommServices() {
		for _, id := range append([]string{c.cfg.Mediator}, c.grant.RoutingDIDs...) {
			mediated = mediated || did.Canonical(e.URI) == did.Canonical(id)
		}
	}
	return names, mediated, nil
}

func (c *Client) reconcile(ctx context.Context) error {
	list, err := Recipients(ctx, c.cfg.Agent, c.cfg.Mediator, As(c.cfg.DID))
	if err != nil {
		return err
	}
	// A mediator may list one form of a DID for all.
	listed := make(map[string]bool, len(list))
	for _, id := range list {
		listed[did.Canonical(id)] = true
	}
	ended, err := c.ledger(ctx)
	if err != nil {
		return err
	}
	var add, adopt []entry
	now, seen, next := c.cfg.Now(), uint64(0), time.Time{}
	for more := true; more; {
		members, err := c.cfg.Set.List(ctx, seen, page)
		if err != nil {
			return err
		}
		more = len(members) == page
		for _, m := range members {
			seen = m.Version
			if !m.Until.IsZero() && !now.Before(m.Until) {
				continue
			}
			if !m.Until.IsZero() && (next.IsZero() || m.Until.Before(next)) {
				next = m.Until
			}
			names, mediated, err := c.names(ctx, m)
			if err != nil {
				return err
			}
			for _, e := range names {
				_, known := ended[e.form]
				delete(ended, e.form)
				switch is := listed[did.Canonical(e.form)]; {
				case !is && mediated:
					add = append(add, e)
				case is && !known: // registered by the DID that c.cfg.DID has replaced, or is that DID
					adopt = append(adopt, e)
				}
			}
		}
	}
	if err := c.record(ctx, adopt); err != nil {
		return err
	}
	refused := c.add(ctx, add)
	if refused != nil && !errors.Is(refused, ErrRefused) {
		return refused
	}
	if err := c.remove(ctx, ended, listed); err != nil {
		return err
	}
	c.seen, c.next, c.synced = seen, next, now
	if refused != nil { // tried again at the next Interval
		c.cfg.Logger.WarnContext(ctx, "the mediator refuses identities", "mediator", c.cfg.Mediator, "error", refused)
	}
	return nil
}

// add registers names. The error matches ErrRefused if the mediator refuses the DID of an
// identity. If it refuses only another name of the DID, senders that use the name do not reach
// us, and that is logged.
func (c *Client) add(ctx context.Context, entries []entry) error {
	var refused []entry
	for batch := range slices.Chunk(entries, page) {
		if err := c.record(ctx, batch); err != nil {
			return err
		}
		no, err := c.update(ctx, Add, batch)
		if err != nil {
			return err
		}
		refused = append(refused, no...)
	}
	var lost error
	for batch := range slices.Chunk(refused, MaxProofs) {
		var proofs []message.Attachment
		for _, e := range batch {
			if did.Canonical(e.form) != did.Canonical(e.did) {
				continue // the did:key of a key that cannot sign
			}
			att, err := Prove(ctx, c.cfg.Agent.Packer(), e.did, c.cfg.DID, c.cfg.Mediator, c.cfg.Now())
			if err != nil {
				return err
			}
			proofs = append(proofs, att)
		}
		no := batch
		if len(proofs) > 0 {
			left, err := c.update(ctx, Add, batch, Proofs(proofs...))
			switch {
			case errors.Is(err, ErrNotEnrolled), ctx.Err() != nil:
				return err
			case err != nil: // perhaps the mediator takes no attachments
				lost = errors.Join(lost, err)
			default:
				no = left
			}
		}
		for _, e := range no {
			if did.Canonical(e.form) == did.Canonical(e.did) {
				lost = errors.Join(lost, fmt.Errorf("%w: %.200s", ErrRefused, e.did))
				continue
			}
			c.cfg.Logger.WarnContext(ctx, "the mediator refuses a name of an identity", "did", e.did, "name", e.form)
		}
	}
	return lost
}

// update changes names, and returns those that the mediator refuses.
func (c *Client) update(ctx context.Context, action Action, batch []entry, opts ...Option) (refused []entry, err error) {
	changes := make([]Change, len(batch))
	for i, e := range batch {
		changes[i] = Change{e.form, action}
	}
	results, err := Update(ctx, c.cfg.Agent, c.cfg.Mediator, changes, append(opts, As(c.cfg.DID))...)
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		switch r.Result {
		case Success, NoChange:
		case ClientError:
			refused = append(refused, batch[i])
		default:
			return nil, fmt.Errorf("mediation: %s of %.200s: %.40s", action, r.RecipientDID, r.Result)
		}
	}
	return refused, nil
}

// collection has a record for each name that a Client has registered, or is about to.
const collection = "mediation/registered"

type registered struct {
	Form string `json:"form"`
}

// account names the mediator and our DID there in the index of records.
func (c *Client) account() string {
	return digest(did.Canonical(c.cfg.Mediator) + " " + did.Canonical(c.cfg.DID))
}

func (c *Client) key(form string) string { return digest(c.account() + " " + form) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// record remembers that names are about to be registered, so that they are removed some day even
// if the answer of the mediator is lost.
func (c *Client) record(ctx context.Context, batch []entry) error {
	for _, e := range batch {
		value, err := json.Marshal(registered{e.form})
		if err != nil {
			return err
		}
		r := store.Record{Collection: collection, Key: c.key(e.form), Value: value, Index: []string{c.account()}}
		if _, err := c.cfg.Agent.Store().Records().Put(ctx, r); err != nil && !errors.Is(err, store.ErrVersion) {
			return fmt.Errorf("mediation: %w", err)
		}
	}
	return nil
}

// ledger returns the records of all names that a Client has registered.
func (c *Client) ledger(ctx context.Context) (map[string]store.Record, error) {
	names := make(map[string]store.Record)
	for after := uint64(0); ; {
		list, err := c.cfg.Agent.Store().Records().List(ctx, store.Query{Collection: collection, Index: c.account(), After: after, N: page})
		if err != nil {
			return nil, fmt.Errorf("mediation: %w", err)
		}
		for _, r := range list {
			after = r.Version
			var reg registered
			if json.Unmarshal(r.Value, &reg) == nil {
				names[reg.Form] = r
			}
		}
		if len(list) < page {
			return names, nil
		}
	}
}

// remove removes names of identities that are not alive any more.
func (c *Client) remove(ctx context.Context, gone map[string]store.Record, listed map[string]bool) error {
	var still []entry
	for form := range gone {
		if listed[did.Canonical(form)] {
			still = append(still, entry{form, form})
		}
	}
	for batch := range slices.Chunk(still, page) {
		if _, err := c.update(ctx, Remove, batch); err != nil {
			return err
		}
	}
	for _, r := range gone {
		err := c.cfg.Agent.Store().Records().Delete(ctx, collection, r.Key, r.Version)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrVersion) {
			return fmt.Errorf("mediation: %w", err)
		}
	}
	return nil
}

// isX25519 reports whether senders may call a party by the did:key of the key.
func isX25519(key crypto.PublicKey) bool {
	k, ok := key.(*ecdh.PublicKey)
	return ok && k.Curve() == ecdh.X25519()
}
