package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Config is what an Agent is made of. DID is required, and either Keys and Resolver or
// Packer; every other field has a default for its zero value.
type Config struct {
	// DID is the DID that messages are sent from which name no other DID of ours, and that
	// those without a recipient are taken to be for. There are keys of the DID, or New
	// refuses it.
	DID string
	// Keys are the private keys of DID, and of any other DIDs of ours: an
	// identity.Identity or an identity.Set, for example. Those two resolve our own DIDs as
	// well, as any Keys that are a did.Resolver do.
	Keys envelope.Keys
	// Resolver resolves the DIDs of other parties, did.Methods for example. New puts a
	// did.Cache before it, unless it has the method Refresh of one.
	Resolver did.Resolver
	// Packer opens and makes envelopes. Default: one of Keys and Resolver, with the limits
	// that package envelope has by default. A Packer that is given is used as it is: Keys
	// and Resolver must be nil then.
	Packer *envelope.Packer
	// Handler handles messages; usually a *Mux. Default: an empty Mux.
	Handler Handler
	// Senders carry packets out, by URI scheme in lower case, such as "https"; none
	// is nil. New binds the agent to each that is a transport.Binder. The agent closes
	// none.
	Senders map[string]transport.Sender
	// Store keeps what must not be lost. Default: in memory.
	Store store.Store
	// Contacts is what the agent knows of other parties; it is kept in Store. Default: a
	// Book with the defaults of package contact.
	Contacts *contact.Book
	// Shares bound what one DID of ours may have in the inbox and in the outbox, so that it
	// leaves room for the others. Default: no bounds but those of Store.
	Shares func(own string) store.Shares
	// Logger gets ids and DIDs, never bodies. Default: discard.
	Logger *slog.Logger
	// Now tells the time of messages. Default: time.Now.
	Now func() time.Time
	// AcceptPlaintext lets messages in that nothing protects, not even a
	// signature.
	AcceptPlaintext bool
	// Trace are hooks that are called as messages go their way. Default: none.
	Trace *Trace
	// Guest leaves the outbox and the inbox to another agent that has the same Store, the host.
	// No Handler is called. A message that is not sent Once waits in the outbox for the
	// host. A message that comes in and answers no Request is left to the host in the
	// inbox, but for a problem report with one that is being sent Once: that is in the
	// Outcome.
	Guest bool

	MaxHandlers       int // handlers running at a time; more wait. Default 1024
	MaxRequests       int // Requests waiting at a time. Default 10,000
	MaxSessions       int // return routes bound at a time, a hundredth to one connection. Default 100,000
	SessionQueue      int // packets of a session waiting for their handler. Default 64
	MaxParked         int // messages kept that cannot be opened now. Default 1000
	MaxParkedPerHost  int // of those, messages that name DIDs of one host. Default 16
	MaxTries          int // of a message whose handler fails with Retry, or does not end. Default 5
	MaxThreadProblems int // problem reports in a thread, both ways, until one hour without. Default 10
	Workers           int // packets being sent at a time. Default 64

	// How many problem reports one peer is sent at once, and then in an hour, besides
	// those in the response to the POST that they are about. Default 20, and 10.
	ReportBurst, ReportsPerHour int
	// How many acks and ping-responses one peer is sent that asks for them, at once
	// and then in an hour, other than on the connection that it asked on; so are
	// reports that we are busy, and what is sent again on a connection. Default 1000,
	// and 36,000.
	AnswerBurst, AnswersPerHour int

	MaxParkedBytes int64 // of the packets of such messages; an eighth for one host. Default 64 MiB

	HandlerTimeout time.Duration // for one message, unless its handler asks for more. Default 1 min
	MaxHandling    time.Duration // for one message whose handler asks for more. Default 1 h
	RequestTimeout time.Duration // for a Request whose context has no deadline. Default 30 s
	SendTimeout    time.Duration // for one try of one endpoint. Default 30 s
	AckTimeout     time.Duration // for the ack of a message that went by a way without receipt. Default 30 s
	StopTimeout    time.Duration // for handlers to end when Run ends. Default 3 s
	MinBackoff     time.Duration // before the second try, of sending and of handling; doubles. Default 1 s
	MaxBackoff     time.Duration // between two tries. Default 10 min
	MaxAge         time.Duration // of an undelivered message without expires_time. Default 72 h
	ReplayWindow   time.Duration // in which a message that was handled is remembered; longer than MaxAge of others. Default 96 h
}

// Errors that users of an Agent act on; match them with errors.Is.
var (
	// ErrNoRoute: the recipient has no endpoint that the agent can send to, and
	// there is no return route to it.
	ErrNoRoute = delivery.ErrNoRoute
	// ErrUnauthenticated: the message has no authenticated sender to answer, or
	// a Request would have none.
	ErrUnauthenticated = errors.New("agent: no authenticated party to answer")
	// ErrUndelivered: the message did not arrive. The error is a *delivery.Error.
	ErrUndelivered = delivery.ErrUndelivered
	// ErrNotReported: a problem that the sender of the message is not told of, so
	// that reports cannot go round: the message is a report itself, or empty, or its
	// thread or sender has had too many.
	ErrNotReported = errors.New("agent: problem not reported")
	// ErrBusy: a limit of Config is reached.
	ErrBusy = errors.New("agent: too much at a time")
	// ErrNotRunning: Run has not begun; see Ready. A Handler that returns it is called
	// again, as for a Retry.
	ErrNotRunning = Retry(0, errors.New("agent: not running yet"))
	// ErrStopped: Run has ended.
	ErrStopped = errors.New("agent: stopped")
)

func (c *Config) setDefaults() error {
	if _, err := did.Parse(c.DID); err != nil {
		return fmt.Errorf("agent: Config.DID: %w", err)
	}
	switch given := c.Keys != nil || c.Resolver != nil; {
	case c.Packer != nil && given:
		return errors.New("agent: Config has a Packer, and Keys or a Resolver besides")
	case c.Packer == nil && (c.Keys == nil || c.Resolver == nil):
		return errors.New("agent: Config needs Keys and Resolver, or a Packer")
	}
	for scheme, s := range c.Senders {
		if !isScheme(scheme) {
			return fmt.Errorf("agent: Config.Senders: %q is no URI scheme in lower case", scheme)
		}
		if s == nil {
			return fmt.Errorf("agent: Config.Senders: no sender for %q", scheme)
		}
	}
	if c.Handler == nil {
		c.Handler = NewMux()
	}
	if c.Store == nil {
		c.Store = store.New(store.Config{})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Contacts == nil {
		c.Contacts = contact.New(c.Store, contact.Config{Logger: c.Logger})
	}
	if c.Shares == nil {
		c.Shares = func(string) store.Shares { return store.Shares{} }
	}
	if c.Trace == nil {
		c.Trace = new(Trace)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Packer == nil {
		var err error
		if c.Packer, err = c.packer(); err != nil {
			return err
		}
	}
	c.MaxHandlers = cmp.Or(max(c.MaxHandlers, 0), 1024)
	c.MaxRequests = cmp.Or(max(c.MaxRequests, 0), 10_000)
	c.MaxSessions = cmp.Or(max(c.MaxSessions, 0), 100_000)
	c.SessionQueue = cmp.Or(max(c.SessionQueue, 0), 64)
	c.MaxThreadProblems = cmp.Or(max(c.MaxThreadProblems, 0), 10)
	c.MaxParked = cmp.Or(max(c.MaxParked, 0), 1000)
	c.MaxParkedPerHost = cmp.Or(max(c.MaxParkedPerHost, 0), 16)
	c.MaxParkedBytes = cmp.Or(max(c.MaxParkedBytes, 0), 64<<20)
	c.MaxTries = cmp.Or(max(c.MaxTries, 0), 5)
	c.Workers = cmp.Or(max(c.Workers, 0), 64)
	c.ReportBurst = cmp.Or(max(c.ReportBurst, 0), 20)
	c.ReportsPerHour = cmp.Or(max(c.ReportsPerHour, 0), 10)
	c.AnswerBurst = cmp.Or(max(c.AnswerBurst, 0), 1000)
	c.AnswersPerHour = cmp.Or(max(c.AnswersPerHour, 0), 36_000)
	c.HandlerTimeout = cmp.Or(max(c.HandlerTimeout, 0), time.Minute)
	c.MaxHandling = cmp.Or(max(c.MaxHandling, 0), time.Hour)
	c.MaxHandling = max(c.MaxHandling, c.HandlerTimeout)
	c.RequestTimeout = cmp.Or(max(c.RequestTimeout, 0), 30*time.Second)
	c.SendTimeout = cmp.Or(max(c.SendTimeout, 0), 30*time.Second)
	c.AckTimeout = cmp.Or(max(c.AckTimeout, 0), 30*time.Second)
	c.StopTimeout = cmp.Or(max(c.StopTimeout, 0), 3*time.Second)
	c.MinBackoff = cmp.Or(max(c.MinBackoff, 0), time.Second)
	c.MaxBackoff = cmp.Or(max(c.MaxBackoff, 0), 10*time.Minute)
	c.MaxAge = cmp.Or(max(c.MaxAge, 0), 72*time.Hour)
	c.ReplayWindow = cmp.Or(max(c.ReplayWindow, 0), 96*time.Hour)
	return nil
}

// backoff is the delay between tries, of sending and of handling.
func (c *Config) backoff() delivery.Backoff {
	return delivery.Backoff{Min: c.MinBackoff, Max: c.MaxBackoff}
}

// isScheme reports whether s is a URI scheme (RFC 3986, section 3.1) in lower case.
func isScheme(s string) bool {
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}
