package mediator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
)

func from(f mediator.Forward, sender, address string) mediator.Forward {
	f.Sender = sender
	if address != "" {
		f.Address = netip.MustParseAddr(address)
	}
	return f
}

// Each quota refuses what is too much, names itself, and drops nothing that was accepted.
func TestQuotas(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx := t.Context()
		var refused []mediator.Event
		n := newNode(t, b, func(c *mediator.Config) {
			c.Limits.Box = store.Share{Items: 6, Bytes: 1000}
			c.Limits.Pair = store.Share{Items: 3, Bytes: 600}
			c.Limits.Sender = store.Share{Items: 4}
			c.Trace = &mediator.Trace{Refused: func(_ context.Context, e mediator.Event) { refused = append(refused, e) }}
		})
		n.enroll(alice, bob)
		send := func(next, sender, text, limit string) {
			t.Helper()
			err := n.Accept(ctx, from(forward(next, text), sender, ""))
			if limit == "" {
				wantErr(t, text, err, nil)
				return
			}
			wantErr(t, text, err, &mediator.LimitError{Limit: limit})
			var l *mediator.LimitError
			if errors.As(err, &l) && (l.Rate || l.RetryAfter <= 0) {
				t.Errorf("%s: %+v", text, l)
			}
			e := refused[len(refused)-1]
			if e.Err != err || e.Recipient != next || e.Account != next || e.Sender != "did" {
				t.Errorf("%s: audited %+v", text, e)
			}
		}
		for i := range 3 {
			send(alice, carol, fmt.Sprintf("c%d", i), "")
		}
		send(alice, carol, "c3", store.LimitPair)
		send(alice, carol, "c2", "") // stored already
		send(bob, carol, "c4", "")
		send(bob, carol, "c5", store.LimitSender)
		send(alice, thief, strings.Repeat("b", 601), store.LimitPair)
		for i := range 3 {
			send(alice, fmt.Sprintf("did:example:s%d", i), fmt.Sprintf("s%d", i), "")
		}
		send(alice, "did:example:s3", "s3", store.LimitBox)
		n.wantMail(alice, "c0", "s0", "s1", "s2", "c1", "c2")
		n.wantMail(bob, "c4")
		send(alice, carol, "c3", "")
	})
}

// Mail is kept for Limits.MaxAge, or until the forward expires, and not given out before its time.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, memory(), func(c *mediator.Config) { c.Limits.MaxAge = time.Hour })
		n.enroll(alice)
		now := time.Now()
		for text, edit := range map[string]func(*mediator.Forward){
			"an hour":       func(f *mediator.Forward) {},
			"30 minutes":    func(f *mediator.Forward) { f.Expires = now.Add(30 * time.Minute) },
			"too long":      func(f *mediator.Forward) { f.Expires = now.Add(100 * time.Hour) },
			"late":          func(f *mediator.Forward) { f.Delay = 45 * time.Minute },
			"never be read": func(f *mediator.Forward) { f.Delay, f.Expires = 20*time.Minute, now.Add(10*time.Minute) },
		} {
			f := forward(alice, text)
			edit(&f)
			if err := n.Accept(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct{ count, lease int }{{5, 3}, {3, 2}, {3, 3}, {0, 0}} {
			s, err := n.Box(alice).Status(t.Context())
			list, err2 := n.Box(alice).Lease(t.Context(), store.Pick{N: 10, Held: true}, time.Second)
			if s.Count != tt.count || len(list) != tt.lease || err != nil || err2 != nil {
				t.Errorf("after %s: %d and %d packets, want %+v; %v, %v", time.Since(now), s.Count, len(list), tt, err, err2)
			}
			switch time.Since(now) {
			case 0:
				time.Sleep(35 * time.Minute)
			case 35 * time.Minute:
				time.Sleep(15 * time.Minute)
			default:
				time.Sleep(time.Hour)
			}
		}
	})
}

// allowed is how many of n calls succeed, where all others fail by the limit.
func allowed(t testing.TB, limit string, n int, call func(i int) error) int {
	t.Helper()
	ok := 0
	for i := range n {
		err := call(i)
		if err == nil {
			ok++
			continue
		}
		var l *mediator.LimitError
		if !errors.As(err, &l) || l.Limit != limit || !l.Rate || l.RetryAfter < time.Second {
			t.Fatalf("call %d: %v, want limit %s", i, err, limit)
		}
	}
	return ok
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n := newNode(t, memory(), func(c *mediator.Config) {
			c.Limits = mediator.Limits{
				AddressPerMinute: 60, SenderPerMinute: 30, ChangesPerMinute: 12,
				EnrolmentsPerHour: 60, EnrolmentsOfAddressPerHour: 12,
			}
		})
		n.enroll(alice)
		calls := 0
		send := func(sender, address string) func(int) error {
			return func(int) error {
				calls++
				return n.Accept(ctx, from(forward(alice, fmt.Sprint(calls)), sender, address))
			}
		}
		for _, tt := range []struct {
			name            string
			sender, address string
			limit           string
			calls, n        int
		}{
			{"address", "", "192.0.2.1", mediator.LimitAddressRate, 40, 20},
			{"the same mapped", "", "::ffff:192.0.2.1", mediator.LimitAddressRate, 40, 0},
			{"another address", "", "192.0.2.2", mediator.LimitAddressRate, 40, 20},
			{"IPv6", "", "2001:db8::1", mediator.LimitAddressRate, 40, 20},
			{"the same /56", "", "2001:db8:0:ff::2", mediator.LimitAddressRate, 40, 0},
			{"another /56", "", "2001:db8:0:100::1", mediator.LimitAddressRate, 40, 20},
			{"sender", bob, "192.0.2.3", mediator.LimitSenderRate, 20, 10},
			{"sender at another address", bob + "#key-1", "192.0.2.4", mediator.LimitSenderRate, 20, 0},
			{"another sender at the address", carol, "192.0.2.4", mediator.LimitAddressRate, 40, 0}, // the refused calls count
		} {
			if got := allowed(t, tt.limit, tt.calls, send(tt.sender, tt.address)); got != tt.n {
				t.Errorf("%s: %d of %d, want %d", tt.name, got, tt.calls, tt.n)
			}
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if got := allowed(t, mediator.LimitAddressRate, 40, send("", "192.0.2.1")); got != 10 {
			t.Errorf("after 10 seconds: %d, want 10", got)
		}

		enroll := func(address string) func(int) error {
			return func(i int) error {
				calls++
				_, _, err := n.Admit(ctx, mediator.Enrolment{ID: fmt.Sprintf("did:example:e%d", calls), Address: netip.MustParseAddr(address)})
				return err
			}
		}
		if got := allowed(t, mediator.LimitEnrolAddress, 10, enroll("192.0.2.1")); got != 4 {
			t.Errorf("enrolments of an address: %d, want 4", got)
		}
		if _, _, err := n.Admit(ctx, mediator.Enrolment{ID: alice, Address: netip.MustParseAddr("192.0.2.1")}); err != nil {
			t.Errorf("a device that is enrolled: %v", err)
		}
		// One of 20 was taken by alice, and time has given back less than one.
		if got := allowed(t, mediator.LimitEnrolRate, 30, func(i int) error { return enroll(fmt.Sprintf("198.51.100.%d", i))(i) }); got != 15 {
			t.Errorf("all enrolments: %d, want 15", got)
		}

		if got := allowed(t, mediator.LimitAccountRate, 10, func(i int) error {
			return errOf(n.Register(ctx, alice, fmt.Sprintf("did:example:r%d", i), false))
		}); got != 4 {
			t.Errorf("registrations: %d, want 4", got)
		}
	})
}

// One address does not fill a box, with whatever number of DIDs.
func TestManyDIDsOfOneAddress(t *testing.T) {
	n := newNode(t, memory(), func(c *mediator.Config) {
		c.Limits.AddressPerMinute = -1
		c.Limits.Box, c.Limits.Pair = store.Share{Items: 100}, store.Share{Items: 10}
	})
	n.enroll(alice)
	accepted := 0
	for i := range 300 {
		if n.Accept(t.Context(), from(forward(alice, fmt.Sprint(i)), fmt.Sprintf("did:example:s%d", i%100), "192.0.2.1")) == nil {
			accepted++
		}
	}
	if accepted != 8*3+10 { // eight DIDs that count for themselves, and the others together
		t.Errorf("%d packets", accepted)
	}
	if err := n.Accept(t.Context(), from(forward(alice, "other"), "did:example:s99", "192.0.2.2")); err != nil {
		t.Error(err)
	}
}

// A log of refusals has neither contents nor addresses, and strangers do not fill it.
func TestAudit(t *testing.T) {
	var log bytes.Buffer
	n := newNode(t, memory(), func(c *mediator.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	long := "did:example:" + strings.Repeat("long", 1<<18)
	for i := range 100 {
		wantErr(t, "nobody", n.Accept(t.Context(), from(forward(bob, fmt.Sprint("secret", i)), "", "192.0.2.77")), mediator.ErrNotEnrolled)
		wantErr(t, "nobody", n.Accept(t.Context(), forward(long, "secret")), mediator.ErrNotEnrolled)
	}
	text := log.String()
	if !strings.Contains(text, bob) || !strings.Contains(text, "not enrolled") || strings.Contains(text, "secret") || strings.Contains(text, "192.0") || len(text) > 10_000 {
		t.Errorf("log of %d bytes: %.1000s", len(text), text)
	}
}

// What an account can keep is bounded.
func TestAccountLimits(t *testing.T) {
	n := newNode(t, memory(), func(c *mediator.Config) {
		c.Limits = mediator.Limits{MaxAccounts: 2, MaxRecipients: 2, MaxSenders: 2, MaxCapabilities: 2}
	})
	ctx := t.Context()
	n.enroll(alice, bob)
	wantErr(t, "third account", errOf(n.Enroll(ctx, carol, "")), &mediator.LimitError{Limit: store.LimitStore})
	n.register(alice, "did:example:1", false)
	n.register(alice, alice, false)
	wantErr(t, "third recipient", errOf(n.Register(ctx, alice, "did:example:2", false)), &mediator.LimitError{Limit: mediator.LimitRecipients})
	wantErr(t, "rotation", errOf(n.Rotate(ctx, alice, carol)), nil) // alice is registered already
	wantErr(t, "second rotation", errOf(n.Rotate(ctx, carol, "did:example:2")), &mediator.LimitError{Limit: mediator.LimitRecipients})
	if _, err := n.Deregister(ctx, carol, "did:example:1"); err != nil {
		t.Fatal(err)
	}
	n.register(carol, "did:example:2", false)
	for i := range 3 {
		_, _, err := n.NewCapability(ctx, bob, "", "name", time.Time{})
		if i < 2 {
			wantErr(t, "capability", err, nil)
		} else {
			wantErr(t, "capability", err, &mediator.LimitError{Limit: mediator.LimitCapabilities})
		}
	}
	wantErr(t, "long name", func() error {
		_, _, err := n.NewCapability(ctx, carol, "", strings.Repeat("n", 257), time.Time{})
		return err
	}(), &mediator.LimitError{Limit: mediator.LimitName})
	wantErr(t, "list", n.SetSenders(ctx, bob, mediator.Senders{DIDs: []string{"did:example:1", "did:example:2", "did:example:3"}}), &mediator.LimitError{Limit: mediator.LimitSenders})
}

// A packet that could never be collected is refused, and the refusal tells the size.
func TestLargePacket(t *testing.T) {
	n := newNode(t, memory(), func(c *mediator.Config) { c.Limits.MaxPacket = 8 })
	n.enroll(alice)
	wantErr(t, "the largest", n.Accept(t.Context(), forward(alice, "12345678")), nil)
	err := n.Accept(t.Context(), forward(alice, "123456789"))
	wantErr(t, "a larger one", err, &mediator.LimitError{Limit: mediator.LimitPacket})
	if p := mediator.Problem(err); p == nil || p.Code != "e.p.me.res.packet" || !slices.Equal(p.Args, []string{"packet", "8"}) {
		t.Errorf("problem %+v", p)
	}
	wantErr(t, "nobody", n.Accept(t.Context(), forward(bob, "123456789")), mediator.ErrNotEnrolled)
	n.wantMail(alice, "12345678")
}

// The lists of senders of an account share a number of bytes, also when a rotation copies one.
func TestListBytes(t *testing.T) {
	n := newNode(t, memory(), func(c *mediator.Config) { c.Limits.MaxSenderBytes = 100 })
	n.enroll(alice)
	n.register(alice, "did:example:1", true)
	set := func(recipient string, size int) error {
		list := []string{"did:example:" + strings.Repeat("x", size)}
		return n.SetSenders(t.Context(), alice, mediator.Senders{Recipient: recipient, Filter: mediator.Filter{Mode: mediator.Allow}, DIDs: list})
	}
	wantErr(t, "a list of an account", set("", 20), nil)
	wantErr(t, "a longer one instead", set("", 30), nil)
	wantErr(t, "too much with the other", set("did:example:1", 60), &mediator.LimitError{Limit: mediator.LimitSenders})
	wantErr(t, "a list of a recipient", set(alice, 20), nil)
	wantErr(t, "a copy", errOf(n.Rotate(t.Context(), alice, carol)), &mediator.LimitError{Limit: mediator.LimitSenders})
	wantErr(t, "a shorter one", set("", 1), nil)
	wantErr(t, "a copy that fits", errOf(n.Rotate(t.Context(), alice, carol)), nil)
}
