package agent

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rates limits how many messages of a kind each party is sent.
type rates struct {
	every time.Duration // after this time, one more message is allowed
	burst int           // messages that are allowed at once

	mu      sync.Mutex // guards parties
	parties recent[*rate.Limiter]
}

func newRates(cfg *Config, burst, perHour int) rates {
	return rates{every: time.Hour / time.Duration(perHour), burst: burst, parties: recent[*rate.Limiter]{max: cfg.MaxCounted}}
}

// take reports whether the sender of in may be sent one more message, and then counts it.
// All messages that were not sent to us count together, and not for their signers.
func (r *rates) take(in *Inbound) bool {
	key := in.key("")
	if !in.Addressed {
		key = keyOf(pairOf(in.To, ""), "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.parties.get(key)
	if !ok {
		l = rate.NewLimiter(rate.Every(r.every), r.burst)
		r.parties.put(key, l)
	}
	return l.Allow()
}
