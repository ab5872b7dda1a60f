package routing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// deposits is a Mailbox that notes what is put into it.
type deposits struct {
	store.Mailbox
	got []store.Mail
}

func (d *deposits) Deposit(ctx context.Context, m store.Mail, boxes ...string) error {
	d.got = append(d.got, m)
	return d.Mailbox.Deposit(ctx, m, boxes...)
}

// Expiry, delay and sender of a forward are those of the mail.
func TestMail(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		body       string // more members
		header     string // delay_milli
		edit       func(*message.Message)
		opts       []envelope.PackOption
		least      time.Duration // the delay is from least to most
		most       time.Duration
		expires    time.Duration // 30 days by default
		sender     string        // prefix
		dropped    bool
		capability string
	}{
		"plain":               {sender: "addr:"},
		"an authenticated":    {edit: func(m *message.Message) { m.From = alice.DID }, opts: []envelope.PackOption{envelope.From(alice.DID)}, sender: "did:"},
		"a claimed from":      {edit: func(m *message.Message) { m.From = alice.DID }, sender: "addr:"},
		"an expiry":           {edit: func(m *message.Message) { m.ExpiresTime = time.Now().Add(time.Hour) }, expires: time.Hour, sender: "addr:"},
		"a late expiry":       {edit: func(m *message.Message) { m.ExpiresTime = time.Now().Add(1000 * day) }, sender: "addr:"},
		"expired":             {edit: func(m *message.Message) { m.ExpiresTime = time.Now().Add(-time.Hour) }, dropped: true},
		"a delay":             {body: `,"delay_milli":60000`, least: time.Minute, most: time.Minute, sender: "addr:"},
		"a delay of parts":    {body: `,"delay_milli":1500.7`, least: 1500 * time.Millisecond, most: 1500 * time.Millisecond, sender: "addr:"},
		"a random delay":      {body: `,"delay_milli":-60000`, most: time.Minute, sender: "addr:"},
		"a long delay":        {body: `,"delay_milli":1e300`, least: day, most: day, sender: "addr:"},
		"a long random delay": {body: `,"delay_milli":-9223372036854775808`, most: day, sender: "addr:"},
		"no delay":            {body: `,"delay_milli":0`, sender: "addr:"},
		"a null":              {body: `,"delay_milli":null`, sender: "addr:"},
		"a header":            {header: "60000", least: time.Minute, most: time.Minute, sender: "addr:"},
		"the body first":      {body: `,"delay_milli":1000`, header: "60000", least: time.Second, most: time.Second, sender: "addr:"},
	} {
		t.Run(name, func(t *testing.T) {
			box := &deposits{Mailbox: store.NewMailbox(store.MailboxConfig{})}
			o := newOffice(t, agenttest.NewNet(), func(c *config) { c.mediator.Mailbox = box })
			o.enroll(t, bob.DID)
			m := o.forward(`{"next":"`+bob.DID+`"`+test.body+`}`, attach(letter(t, alice, bob)))
			if test.header != "" {
				m.Headers = map[string]json.RawMessage{"delay_milli": json.RawMessage(test.header)}
			}
			if test.edit != nil {
				test.edit(m)
			}
			if a := o.post(t, pack(t, alice.Packer, m, append(test.opts, envelope.To(o.DID()))...)); a.status != http.StatusAccepted {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if test.dropped {
				if len(box.got) > 0 {
					t.Error("kept")
				}
				return
			}
			if len(box.got) != 1 {
				t.Fatalf("%d deposits", len(box.got))
			}
			mail := box.got[0]
			var delay time.Duration
			if !mail.Due.IsZero() {
				delay = mail.Due.Sub(mail.Time)
			}
			if delay < test.least || delay > test.most {
				t.Errorf("delayed by %v", delay)
			}
			if test.expires == 0 {
				test.expires = 30 * day
			}
			if left := mail.Expires.Sub(mail.Time); left > test.expires || left < test.expires-2*time.Second {
				t.Errorf("expires in %v", left)
			}
			if !strings.HasPrefix(mail.Sender, test.sender) || strings.Contains(mail.Sender, "127.0.0.1") {
				t.Errorf("sender %s", mail.Sender)
			}
		})
	}
}

// A forward over a limit may come again: the answer says when, and names the limit.
func TestLimits(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	for name, test := range map[string]struct {
		limits mediator.Limits
		status int
		limit  string
	}{
		"a box":      {mediator.Limits{Box: store.Share{Items: 2}}, http.StatusServiceUnavailable, store.LimitBox},
		"a sender":   {mediator.Limits{Pair: store.Share{Items: 2}}, http.StatusServiceUnavailable, store.LimitPair},
		"an address": {mediator.Limits{AddressPerMinute: 6}, http.StatusTooManyRequests, mediator.LimitAddressRate},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, agenttest.NewNet(), func(c *config) { c.mediator.Limits = test.limits })
			o.enroll(t, bob.DID)
			for i := range 3 {
				a := o.post(t, pack(t, alice.Packer, o.forward(next(bob.DID), attach(letter(t, alice, bob)))))
				switch {
				case i < 2 && a.status != http.StatusAccepted:
					t.Errorf("%d: status %d: %s", i, a.status, a.body)
				case i == 2 && (a.status != test.status || a.retryAfter == "" || !strings.Contains(string(a.body), "limit reached: "+test.limit)):
					t.Errorf("%d: status %d, Retry-After %q: %s", i, a.status, a.retryAfter, a.body)
				}
			}
			if got := len(o.mail(t, bob.DID)); got != 2 {
				t.Errorf("kept %d", got)
			}
		})
	}
}

// A blocked client gets no mail, and the sender is told.
func TestBlocked(t *testing.T) {
	o := newOffice(t, agenttest.NewNet())
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	o.enroll(t, bob.DID)
	if err := o.Block(t.Context(), bob.DID); err != nil {
		t.Fatal(err)
	}
	m := o.forward(next(bob.DID), attach(letter(t, alice, bob)))
	o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, "e.p.req.blocked")
}

// A packet that the client could never collect is refused for good.
func TestLargePacket(t *testing.T) {
	o := newOffice(t, agenttest.NewNet(), func(c *config) { c.mediator.Limits.MaxPacket = 100 })
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	o.enroll(t, bob.DID)
	m := o.forward(next(bob.DID), attach(letter(t, alice, bob)))
	o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, "e.p.me.res.packet")
	o.wantMail(t, bob.DID)
}

// A client says who may send: the DID that the forward proves, and who has a capability.
func TestAllowed(t *testing.T) {
	o := newOffice(t, agenttest.NewNet())
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	o.enroll(t, bob.DID)
	if err := o.SetSenders(t.Context(), bob.DID, mediator.Senders{Filter: mediator.Filter{Mode: mediator.Allow, RefuseAnonymous: true}, DIDs: []string{alice.DID}}); err != nil {
		t.Fatal(err)
	}
	token, _, err := o.NewCapability(t.Context(), bob.DID, "", "for alice", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		from       string
		capability string
		code       string
	}{
		"listed":             {from: alice.DID},
		"with a capability":  {capability: token},
		"nobody":             {code: "e.p.req.not-allowed"},
		"a wrong capability": {capability: "x" + token, code: "e.p.req.not-allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			m := o.forward(fmt.Sprintf(`{"next":%q,"capability":%q}`, bob.DID, test.capability), attach(letter(t, alice, bob)))
			var opts []envelope.PackOption
			if m.From = test.from; m.From != "" {
				opts = append(opts, envelope.From(m.From))
			}
			a := o.post(t, pack(t, alice.Packer, m, opts...))
			if test.code != "" {
				o.wantReport(t, a, m, test.code)
			} else if a.status != http.StatusAccepted {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
}

// failing is a Mailbox that fails.
type failing struct {
	store.Mailbox
	until atomic.Int32 // deposits
}

func (f *failing) Deposit(ctx context.Context, m store.Mail, boxes ...string) error {
	if f.until.Add(-1) >= 0 {
		return context.DeadlineExceeded
	}
	return f.Mailbox.Deposit(ctx, m, boxes...)
}

// A forward of several packets of which one is not kept may come again as a whole.
func TestFailing(t *testing.T) {
	box := &failing{Mailbox: store.NewMailbox(store.MailboxConfig{})}
	o := newOffice(t, agenttest.NewNet(), func(c *config) { c.mediator.Mailbox = box })
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	o.enroll(t, bob.DID)
	first, second := letter(t, alice, bob), letter(t, alice, bob)
	e := pack(t, alice.Packer, o.forward(next(bob.DID), attach(first), attach(second)))
	box.until.Store(1)
	if a := o.post(t, e); a.status != http.StatusServiceUnavailable || a.retryAfter == "" {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	for range 2 {
		if a := o.post(t, e); a.status != http.StatusAccepted {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	o.wantMail(t, bob.DID, first.Data, second.Data)
}
