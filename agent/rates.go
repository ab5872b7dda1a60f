package agent

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxRates bounds the parties whose messages are counted by a rates. The one that
// was sent something least recently is forgotten first.
const maxRates = 10_000

// rates bound how many messages of a kind each party is sent.
type rates struct {
	every time.Duration // how long it takes until there may be one more
	burst int

	mu      sync.Mutex // guards parties
	parties recent[*rate.Limiter]
}

func newRates(burst, perHour int) rates {
	return rates{every: time.Hour / time.Duration(perHour), burst: burst, parties: recent[*rate.Limiter]{max: maxRates}}
}

// take counts one message to the sender of another, unless the sender has had too many.
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
