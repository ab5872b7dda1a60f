package mediator

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// Config configures a [Mediator]. DID, Store and Mailbox are required. A zero in any other
// field means the default.
type Config struct {
	// DID is the routing DID: the DID to which forwards are encrypted.
	DID string
	// Store keeps accounts and recipients in its records.
	Store store.Store
	// Mailbox keeps the mail.
	Mailbox store.Mailbox
	// Ours reports whether a DID is one of ours, which nobody can register. The default
	// knows DID alone.
	Ours func(ctx context.Context, id string) bool
	// Documents resolves DIDs that are to be registered, to find out whether they name
	// another mediator. The default looks at no document.
	Documents did.Resolver
	// Admission says who may enroll. The default is everybody.
	Admission Admission
	// Next are DIDs besides those of accounts to which forwards are handed on.
	Next   []string
	Limits Limits
	Trace  *Trace
	Logger *slog.Logger
	Now    func() time.Time
}

// Admission says who may enroll: everybody, unless one of its fields is set.
type Admission struct {
	// Allow are the DIDs that may enroll.
	Allow []string
	// Token is asked about a DID that is not in Allow, with the token of its request. The
	// DID may enroll if Token returns nil. A token is used up by the call.
	Token func(ctx context.Context, id, token string) error
	// Tokens lets those in who bring a token of Mediator.NewToken.
	Tokens bool
}

// Limits are the limits of a Mediator. Fields of 0 take the defaults. A negative rate is no
// limit; other fields below 0 take the defaults. Of each rate, a third is allowed at once.
type Limits struct {
	MaxAccounts   int           // default 1,000,000
	MaxDevices    int           // of an account; default 8
	MaxRecipients int           // of an account; default 1000
	MaxDID        int           // bytes of a DID to register; default 4096
	MaxAge        time.Duration // of mail; default 30 days
	MaxUnused     time.Duration // of an account whose boxes were never looked at, and are empty; default 7 days
	MaxPacket     int64         // bytes of a packet of mail; default DefaultMaxPacket
	Box           store.Share   // mail of one device; default 10,000 packets and 256 MiB
	Pair          store.Share   // mail of one sender for one device; default 1000 packets and 64 MiB
	Sender        store.Share   // mail of one sender in all boxes; default 100,000 packets and 4 GiB

	MaxSenders      int // DIDs in a list of senders; default 1000
	MaxSenderBytes  int // of all lists of senders of an account; default 1 MiB
	MaxCapabilities int // of an account; default 1000

	// Rates of forwards. An address is one of IPv4, or a /56 of IPv6.
	AddressPerMinute int // from one address; default 6000
	SenderPerMinute  int // of one authenticated DID; default 3000
	// Rates of requests to enroll, by DIDs that are not enrolled.
	EnrolmentsPerHour          int // all; default 6000
	EnrolmentsOfAddressPerHour int // from one address; default 60
	ChangesPerMinute           int // of one account, by its devices; default 1000
}

// DefaultMaxPacket is the default of Limits.MaxPacket: 2.75 MiB. Clients read messages of 5 MiB, and
// a delivery is larger than the packet in it by 16/9, since both are base64 in base64: 113 KiB are
// left for DIDs and keys. A larger packet could never be collected.
const DefaultMaxPacket = 11 << 18

// Trace has functions that are called when the state of the mail changes. A nil function is
// not called.
type Trace struct {
	// Accepted is called when mail was stored.
	Accepted func(ctx context.Context, e Event)
	// Refused is called when a call was refused, with the reason in Event.Err.
	Refused func(ctx context.Context, e Event)
	// Delivered is called when mail was given to a device. Collected is called when a device
	// has acknowledged mail.
	Delivered, Collected func(ctx context.Context, e Event)
	// Figures is called by Run at the start, and then every minute, or less often if counting
	// takes long.
	Figures func(ctx context.Context, s Stats)
}

// Event describes mail, or a refused call, to a Trace. It has no contents.
type Event struct {
	Recipient string // name of the recipient, see Name
	Account   string // ID of the account, if it is known
	Device    string // name of the device; empty unless one device is concerned
	Sender    string // class of the sender: "did", "cap" for a capability, "addr" for an address, or empty
	Packets   int
	Bytes     int64 // 0 for Collected
	Err       error
}

// Mediator is the state of a mediator. Make one with [New]. A Mediator may be used from
// several goroutines, and several processes may share its store.
type Mediator struct {
	cfg   Config
	meter *meter
	audit *rate.Limiter // log entries of refusals

	seed    maphash.Seed
	locks   [64]sync.Mutex // see change
	watches watches
	cache   cache
}

// New returns a Mediator.
func New(cfg Config) (*Mediator, error) {
	if _, err := did.Parse(cfg.DID); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Mailbox == nil {
		return nil, errors.New("mediator: Config needs Store and Mailbox")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Trace == nil {
		cfg.Trace = new(Trace)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &cfg.Limits
	l.MaxAccounts = cmp.Or(max(l.MaxAccounts, 0), 1_000_000)
	l.MaxDevices = cmp.Or(max(l.MaxDevices, 0), 8)
	l.MaxRecipients = cmp.Or(max(l.MaxRecipients, 0), 1000)
	l.MaxDID = cmp.Or(max(l.MaxDID, 0), 4096)
	l.MaxSenders = cmp.Or(max(l.MaxSenders, 0), 1000)
	l.MaxSenderBytes = cmp.Or(max(l.MaxSenderBytes, 0), 1<<20)
	l.MaxCapabilities = cmp.Or(max(l.MaxCapabilities, 0), 1000)
	l.MaxAge = cmp.Or(max(l.MaxAge, 0), 30*24*time.Hour)
	l.MaxUnused = cmp.Or(max(l.MaxUnused, 0), 7*24*time.Hour)
	l.MaxPacket = cmp.Or(max(l.MaxPacket, 0), DefaultMaxPacket)
	l.Box = orShare(l.Box, store.Share{Items: 10_000, Bytes: 256 << 20})
	l.Pair = orShare(l.Pair, store.Share{Items: 1000, Bytes: 64 << 20})
	l.Sender = orShare(l.Sender, store.Share{Items: 100_000, Bytes: 4 << 30})
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.AddressPerMinute, 6000}, {&l.SenderPerMinute, 3000}, {&l.ChangesPerMinute, 1000},
		{&l.EnrolmentsPerHour, 6000}, {&l.EnrolmentsOfAddressPerHour, 60},
	} {
		*f.field = cmp.Or(*f.field, f.value)
	}
	m := &Mediator{cfg: cfg, audit: rate.NewLimiter(1, 10), seed: maphash.MakeSeed()}
	m.meter = newMeter(&m.cfg.Limits)
	return m, nil
}

func orShare(s, def store.Share) store.Share {
	return store.Share{Items: cmp.Or(max(s.Items, 0), def.Items), Bytes: cmp.Or(max(s.Bytes, 0), def.Bytes)}
}

// DID returns the routing DID.
func (m *Mediator) DID() string { return m.cfg.DID }

// refused audits a refusal, and returns err.
func (m *Mediator) refused(ctx context.Context, e Event, err error) error {
	if Problem(err) == nil {
		return err
	}
	if e.Err = err; m.cfg.Trace.Refused != nil {
		m.cfg.Trace.Refused(ctx, e)
	}
	if m.audit.Allow() { // strangers must not fill the log
		m.cfg.Logger.InfoContext(ctx, "mediator has refused a call",
			"reason", err, "recipient", logged(e.Recipient), "account", logged(e.Account), "sender", e.Sender)
	}
	return err
}

// logged is a name in a log entry: names may be long.
func logged(name string) string {
	const most = 128
	if len(name) > most {
		return name[:most] + "..."
	}
	return name
}
