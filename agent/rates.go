package agent

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxRates is how many parties a rates has. The party that was least recently sent a
// message is forgotten first.
const maxRates = 10_000

// rates limits how many messages of a kind each party is sent.
type rates struct {
	every time.Duration // after this time, one more message is allowed
	burst int           // messages that are allowed at once

	mu      sync.Mutex // guards parties
	parties recent[*rate.Limiter]
}

func newRates(burst, perHour int) rates {
	return rates{every: time.Hour / time.Duration(perHour), burst: burst, parties: recent[*rate.Limiter]{max: maxRates}}
}

// take reports whether the sender of in may be sent one more message, and then counts it.
func (r *rates) take(in *Inbound) bool {
	key := in.key("")
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.parties.get(key)
	if !ok {
		l = rate.NewLimiter(rate.Every(r.every), r.burst)
		r.parties.put(key, l)
	}
	return l.Allow()
}
