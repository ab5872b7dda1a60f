package agent

import (
	"cmp"
	"context"
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

// Config configures an [Agent]. DID is required, and either Keys and Resolver, or Packer.
// A zero in any other field means the default. New returns an error for a Config that
// cannot work.
type Config struct {
	// DID is our DID. The Agent sends messages from DID if they name no other DID of ours,
	// and takes received messages that name no recipient as messages to DID. Keys must
	// hold a private key of DID.
	DID string
	// Keys holds the private keys of DID, and of our other DIDs if there are any, for
	// example an identity.Identity or an identity.Set. If Keys is also a did.Resolver, as
	// these two are, it resolves our own DIDs.
	Keys envelope.Keys
	// Resolver resolves the DIDs of other parties, for example did.Methods. New adds a
	// did.Cache, unless Resolver is a did.Refresher. A Resolver with a cache of its own should
	// have limits for strangers, as a did.Cache has (see did.ForStranger).
	Resolver did.Resolver
	// Packer packs and opens messages. The default uses Keys and Resolver with the default
	// limits of package envelope. If Packer is set, Keys and Resolver must be nil.
	Packer *envelope.Packer
	// Handler handles received messages, usually a *Mux. The default is an empty Mux, which
	// supports no message type.
	Handler Handler
	// Senders are the transports by URI scheme in lower case, for example "https". No
	// Sender may be nil. If a Sender is a transport.Binder, New binds it to the Agent. The
	// Agent does not close Senders.
	Senders map[string]transport.Sender
	// Store keeps the outbox, the inbox and records. The default keeps them in memory.
	Store store.Store
	// Contacts keeps what the Agent knows about other parties, in records of Store. The
	// default is a contact.Book with the default limits.
	Contacts *contact.Book
	// Shares returns the limits of our DID own in the inbox and in the outbox, so that one
	// DID of ours leaves room for the others. The default is no limits other than those of
	// Store.
	Shares func(own string) store.Shares
	// Logger logs ids and DIDs, but never the body of a message. The default discards logs.
	Logger *slog.Logger
	// Now returns the time for created_time, and for comparison with expires_time and with
	// the age of messages. The default is time.Now.
	Now func() time.Time
	// Unopened is called for a received packet that is encrypted for none of our keys, for
	// example by a mediator that keeps the packet for one of its clients. As with
	// Protocol.Custody, nil accepts the packet, a *message.Problem refuses it, and a [Retry], or
	// any other error, asks the peer to send the packet again later. Unopened must be durable
	// and idempotent. It may be called from several goroutines. By default such a packet is
	// refused.
	Unopened func(ctx context.Context, u *Unopened) error
	// AcceptPlaintext makes the Agent accept messages that are neither encrypted nor
	// signed.
	AcceptPlaintext bool
	// Trace has functions that are called when the state of a message changes. The default
	// has none.
	Trace *Trace
	// Guest is for an Agent that shares its Store with another Agent, the host. An example
	// is a command that sends a message while a server runs. A guest calls no Handler and
	// leaves the outbox and the inbox to the host:
	//   - A message that is sent without the option [Once] stays in the outbox until the
	//     host sends it.
	//   - A received message stays in the inbox until the host handles it, unless the
	//     message answers a Request of the guest, is empty, or reports a problem about a
	//     message that the guest is sending. Such a problem is the Err of the [Outcome].
	Guest bool

	// MaxHandlers is how many Handlers run at the same time. Further messages wait. Messages
	// of strangers, who are not contacts in Contacts, have at most three quarters. The
	// default is 1024.
	MaxHandlers int
	// MaxRequests is how many Requests wait for their answer at the same time. A Request
	// beyond that returns ErrBusy. The default is 10,000.
	MaxRequests int
	// MaxSessions is the largest number of return routes. One connection can have at most a
	// thousandth of them. The default is 100,000.
	MaxSessions int
	// SessionQueue is how many accepted messages of one connection, or of one party in an
	// ordered protocol, wait for their Handler. If there are more, Agent.ServePacket waits
	// too. The default is 64.
	SessionQueue int
	// Workers is how many packets are sent at the same time, without those for strangers. The
	// default is 64.
	Workers int
	// StrangerWorkers is how many packets are sent to strangers at the same time. The default
	// is an eighth of Workers.
	StrangerWorkers int
	// HostTries is how many packets are sent to one host at the same time. A host that
	// accepts packets quickly is sent more, and one that does not answer is sent one. See
	// package delivery, Hosts. The default is 4.
	HostTries int
	// StrangerTries is how often the Agent tries to deliver a message to a stranger. The
	// default is 3.
	StrangerTries int
	// RefusedTries is how many times in a row the endpoints of a recipient refuse a message
	// with the same answer, such as HTTP status 500, before the Agent gives the message up. It
	// does so only if these endpoints accept other messages. See package delivery, Refusals.
	// The default is 16, which takes about an hour.
	RefusedTries int

	// MaxTries is how often a Handler is called for a message when it returns a Retry, or
	// when the process ends before it returns. Then the message is set aside. The default
	// is 5.
	MaxTries int
	// MaxThreadProblems is how many problem reports a thread may have, sent and received.
	// If the Agent sends the next report, its code is e.p.req.max-errors-exceeded. After
	// that report, the Agent sends no report in the thread and drops the messages of the
	// thread, until one hour after the last report. The default is 10.
	MaxThreadProblems int
	// ReportBurst is how many problem reports a peer is sent at once, and ReportsPerHour is
	// how many more it is sent in an hour. Reports in the HTTP response to the peer's own
	// POST are not counted. The defaults are 20 and 10.
	ReportBurst, ReportsPerHour int
	// AnswerBurst is how many messages of the following kinds a peer is sent at once, and
	// AnswersPerHour is how many more it is sent in an hour:
	//   - acks and ping responses that do not leave by the connection of their message;
	//   - reports that a message is not accepted, and replies that are sent again, except for
	//     those in an HTTP response.
	// The defaults are 1000 and 36,000.
	AnswerBurst, AnswersPerHour int
	// MaxCounted is how many threads MaxThreadProblems counts at the same time, and for how
	// many parties ReportBurst and AnswerBurst do. The least recent of them is forgotten
	// first. Strangers, who are not contacts in Contacts, are counted apart, and do not make
	// the Agent forget known parties. The default is 10,000.
	MaxCounted int

	// StrangerBytes is how many bytes the answers to one message of a stranger may have
	// together. If twice the bytes of the message are more, the answers may have that many.
	// The default is 64 KiB.
	StrangerBytes int64

	// MaxParked is how many parked messages the inbox keeps. A parked message came by a
	// connection without receipts, and cannot be opened because a DID cannot be reached.
	// The default is 1000.
	MaxParked int
	// MaxParkedPerHost is how many parked messages the inbox keeps for one host, which is
	// the host of the did:web that cannot be reached. All DIDs of another method count as
	// one host. The default is 16.
	MaxParkedPerHost int
	// MaxParkedBytes is how many bytes the packets of all parked messages may have. The
	// packets for one host may have an eighth of that. The default is 64 MiB.
	MaxParkedBytes int64

	// HandlerTimeout is how long a Handler has for a message, if it does not call
	// Responder.Extend. The default is 1 minute.
	HandlerTimeout time.Duration
	// MaxHandling is how long a Handler has for a message, with all calls of
	// Responder.Extend. It is at least HandlerTimeout. The default is 1 hour.
	MaxHandling time.Duration
	// RequestTimeout is how long a Request waits for its answer if its context has no
	// deadline. The default is 30 seconds.
	RequestTimeout time.Duration
	// SendTimeout limits one try to send a packet to one endpoint. The default is 30
	// seconds.
	SendTimeout time.Duration
	// AckTimeout is how long the Agent waits for an ack after a message has left by a
	// transport without receipts. The default is 30 seconds.
	AckTimeout time.Duration
	// StopTimeout is how long Run, when it ends, waits for Handlers before it cancels their
	// contexts. The default is 3 seconds.
	StopTimeout time.Duration
	// MinBackoff is the delay before the second try to send a message, or to handle one.
	// The delay doubles with each further try. The default is 1 second.
	MinBackoff time.Duration
	// MaxBackoff is the longest delay between two tries. The default is 10 minutes.
	MaxBackoff time.Duration
	// MaxAge is how long the Agent tries to deliver a message without expires_time, and to
	// open a parked message. StrangerAge takes its place for answers to strangers. The
	// default is 72 hours.
	MaxAge time.Duration
	// StrangerAge is how long the Agent tries to deliver an answer to a stranger, even if
	// the answer has a later expires_time. The section Strangers of the package
	// documentation says who is a stranger. The default is 10 minutes.
	StrangerAge time.Duration
	// ReplayWindow is how long a handled message is remembered, so that it is not handled
	// again. A message whose created_time is longer ago is refused. ReplayWindow should be
	// longer than the MaxAge of other agents. Behind a mediator that sends to our endpoint,
	// it should be longer than twice that time, since the mediator tries for as long as the
	// sender before. The default is 96 hours.
	ReplayWindow time.Duration
	// MailWindow is ReplayWindow for messages that a mediator of ours has kept
	// (Agent.ServeMail). It must be longer than the mediator keeps messages, for example 30
	// days, or messages are lost. If it is longer than ReplayWindow, all messages are
	// remembered for MailWindow, since a message may arrive by both ways. By default the
	// Agent takes no mail.
	MailWindow time.Duration
}

// Errors of an Agent; match them with errors.Is.
var (
	// ErrNoRoute means that there is no return route to the recipient, and no endpoint of
	// the recipient for whose URI scheme Config.Senders has a Sender.
	ErrNoRoute = delivery.ErrNoRoute
	// ErrUnauthenticated means that a message cannot be answered because its sender is not
	// authenticated, or that a Request cannot be answered because it is Anonymous.
	ErrUnauthenticated = errors.New("agent: no authenticated party to answer")
	// ErrUndelivered means that a message was not delivered. Every such error is a
	// *delivery.Error, which has the Outcome.
	ErrUndelivered = delivery.ErrUndelivered
	// ErrNotReported means that the sender of a message is not told about a problem, so
	// that reports do not circulate between two agents. The reason is one of these: the
	// message was not sent to us, the message is a problem report, the message is empty, or
	// its thread or its sender has had too many reports.
	ErrNotReported = errors.New("agent: problem not reported")
	// ErrNotAddressed means that a Mux has not handled a message, because the message was
	// not sent to us (Inbound.Addressed). The message is set aside.
	ErrNotAddressed = errors.New("agent: the message was not sent to us")
	// ErrAnswerLimit means that a reply is not sent, because the answers to the message would
	// have too many bytes for a stranger (Config.StrangerBytes). A party that is made a
	// contact (contact.Book.Keep) has no such limit.
	ErrAnswerLimit = errors.New("agent: too many bytes in the answers")
	// ErrBusy means that a limit of Config is reached.
	ErrBusy = errors.New("agent: limit reached")
	// ErrNotRunning means that Run has not begun. See Agent.Ready. A Handler that returns
	// ErrNotRunning is called again, since the error is also a Retry.
	ErrNotRunning = Retry(0, errors.New("agent: not running yet"))
	// ErrStopped means that Run has ended, or is about to end.
	ErrStopped = errors.New("agent: stopped")
)

func (c *Config) setDefaults() error {
	if _, err := did.Parse(c.DID); err != nil {
		return fmt.Errorf("agent: Config.DID: %w", err)
	}
	switch given := c.Keys != nil || c.Resolver != nil; {
	case c.Packer != nil && given:
		return errors.New("agent: Config has Keys or Resolver as well as Packer")
	case c.Packer == nil && (c.Keys == nil || c.Resolver == nil):
		return errors.New("agent: Config needs Keys and Resolver, or a Packer")
	}
	for scheme, s := range c.Senders {
		if !isScheme(scheme) {
			return fmt.Errorf("agent: Config.Senders: %q is not a URI scheme in lower case", scheme)
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
	c.MaxCounted = cmp.Or(max(c.MaxCounted, 0), 10_000)
	c.StrangerBytes = cmp.Or(max(c.StrangerBytes, 0), 64<<10)
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
	c.StrangerAge = cmp.Or(max(c.StrangerAge, 0), 10*time.Minute)
	c.ReplayWindow = cmp.Or(max(c.ReplayWindow, 0), 96*time.Hour)
	c.MailWindow = max(c.MailWindow, 0)
	return nil
}

// backoff returns the delay between two tries to send or to handle a message.
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
