package mediator

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/didcomm-go/didcomm/did/lru"
)

// meter has the rates of addresses, senders and accounts. Addresses are kept as their hash with a
// random key, which this process has for a day.
type meter struct {
	limits *Limits

	mu       sync.Mutex // guards all below
	key      []byte
	keyed    time.Time
	enrolled *rate.Limiter // enrolments of all addresses
	rates    lru.Map[string, *rate.Limiter]
	parties  lru.Map[string, [][hashSize]byte] // by address and recipient: hashes of the DIDs that count for themselves
}

const (
	maxRates   = 50_000 // addresses, senders and accounts whose rates are known
	maxParties = 20_000
	// maxOfAddress is how many DIDs from one address count for themselves at one recipient: a DID
	// costs nothing, so the others from there count together. With the shares that are
	// the default, one address does not fill the box of a recipient.
	maxOfAddress = 8
	keyAge       = 24 * time.Hour
)

func newMeter(l *Limits) *meter {
	return &meter{limits: l, enrolled: limiter(l.EnrolmentsPerHour, time.Hour)}
}

// limiter allows n calls in a time, and a third of n at once. A negative n allows all.
func limiter(n int, in time.Duration) *rate.Limiter {
	if n < 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(float64(n)/in.Seconds()), max(n/3, 1))
}

// hash returns the keyed hash of an address, or of its /56 for IPv6: a subscriber often has a whole
// /56. The caller holds mu.
func (t *meter) hash(addr netip.Addr, now time.Time) string {
	if age := now.Sub(t.keyed); t.key == nil || age > keyAge || age < -keyAge {
		t.key, t.keyed = make([]byte, 32), now
		rand.Read(t.key) // never fails
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 56
	}
	prefix, _ := addr.Prefix(bits)
	text, _ := prefix.MarshalBinary()
	h := hmac.New(sha256.New, t.key)
	h.Write(text)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:hashSize])
}

// allow takes one call of a rate. The caller holds mu.
func (t *meter) allow(limit, key string, n int, in time.Duration, now time.Time) error {
	if n < 0 {
		return nil
	}
	key = limit + "\x00" + key
	l, ok := t.rates.Get(key)
	if !ok {
		l = limiter(n, in)
		t.rates.Put(key, l)
		for t.rates.Len() > maxRates {
			t.rates.RemoveOldest()
		}
	}
	return take(l, limit, now)
}

func take(l *rate.Limiter, limit string, now time.Time) error {
	if l.AllowN(now, 1) {
		return nil
	}
	r := l.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	r.CancelAt(now)
	return &LimitError{Limit: limit, Rate: true, RetryAfter: max(wait, time.Second)}
}

// forward takes one forward of the rates of its address and of its sender.
func (t *meter) forward(f *Forward, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.Address.IsValid() {
		if err := t.allow(LimitAddressRate, t.hash(f.Address, now), t.limits.AddressPerMinute, time.Minute, now); err != nil {
			return err
		}
	}
	if f.Sender == "" {
		return nil
	}
	return t.allow(LimitSenderRate, string(hashOf(f.Sender)), t.limits.SenderPerMinute, time.Minute, now)
}

// enrolment takes one enrolment of the rates of its address and of all.
func (t *meter) enrolment(addr netip.Addr, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr.IsValid() {
		if err := t.allow(LimitEnrolAddress, t.hash(addr, now), t.limits.EnrolmentsOfAddressPerHour, time.Hour, now); err != nil {
			return err
		}
	}
	return take(t.enrolled, LimitEnrolRate, now)
}

// change takes one change of the rate of an account.
func (t *meter) change(account string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.allow(LimitAccountRate, account, t.limits.ChangesPerMinute, time.Minute, now)
}

// party returns the party of a forward without a capability at a recipient.
func (t *meter) party(f *Forward, recipient string, now time.Time) string {
	if !f.Address.IsValid() {
		if f.Sender == "" {
			return ""
		}
		return "did:" + Name(f.Sender)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	address := t.hash(f.Address, now)
	if f.Sender == "" {
		return "addr:" + address
	}
	key := address + "\x00" + recipient
	known, _ := t.parties.Get(key)
	h := [hashSize]byte(hashOf(f.Sender))
	switch {
	case slices.Contains(known, h):
	case len(known) >= maxOfAddress:
		return "addr:" + address
	default:
		t.parties.Put(key, append(known, h))
		for t.parties.Len() > maxParties {
			t.parties.RemoveOldest()
		}
	}
	return "did:" + Name(f.Sender)
}
