package pickup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/store"
)

// collection is the collection of the records of parked mail.
const collection = "pickup/parked"

// Parked is mail that the agent has refused for good, for example since no key of ours opens
// it. It is kept for a person to look at, and may be tried again.
type Parked struct {
	Key      string    `json:"-"` // names the mail for Drop and Retry
	Mediator string    `json:"mediator"`
	Mail     MailID    `json:"mail,omitempty"` // the id that the mediator gave to the mail
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time"`
	Data     []byte    `json:"data"` // the packet
}

// parked knows the sizes of the parked mail, so that a flood of mail that cannot be opened is
// cheap.
type parked struct {
	mu     sync.Mutex
	loaded bool
	list   []parkedSize // oldest first
	bytes  int64
}

type parkedSize struct {
	key   string
	bytes int64
}

// park stores mail. It drops the oldest mail that is parked if there is no room.
func (c *Collector) park(ctx context.Context, a *agent.Agent, s Source, m Mail, reason string) error {
	sum := sha256.Sum256(m.Packet.Data)
	p := Parked{Mediator: s.Mediator, Mail: m.ID, Reason: reason, Time: time.Now(), Data: m.Packet.Data}
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("pickup: park: %w", err)
	}
	key, size := hex.EncodeToString(sum[:16]), int64(len(value))
	records, k := a.Store().Records(), &c.parked
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(ctx, records); err != nil {
		return err
	}
	if slices.ContainsFunc(k.list, func(e parkedSize) bool { return e.key == key }) {
		return nil
	}
	if size > c.cfg.MaxParkedBytes {
		return nil // it cannot be kept, and must not stay at the mediator either
	}
	for len(k.list) > 0 && (len(k.list) >= c.cfg.MaxParked || k.bytes+size > c.cfg.MaxParkedBytes) {
		if err := records.Delete(ctx, collection, k.list[0].key, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("pickup: park: %w", err)
		}
		k.bytes -= k.list[0].bytes
		k.list = k.list[1:]
	}
	_, err = records.Put(ctx, store.Record{Collection: collection, Key: key, Value: value})
	if err != nil && !errors.Is(err, store.ErrVersion) { // another process has parked the same mail
		return fmt.Errorf("pickup: park: %w", err)
	}
	k.list, k.bytes = append(k.list, parkedSize{key, size}), k.bytes+size
	return nil
}

func (k *parked) load(ctx context.Context, records store.Records) error {
	if k.loaded {
		return nil
	}
	k.list, k.bytes = nil, 0
	for r, err := range all(ctx, records) {
		if err != nil {
			return err
		}
		k.list, k.bytes = append(k.list, parkedSize{r.Key, int64(len(r.Value))}), k.bytes+int64(len(r.Value))
	}
	k.loaded = true
	return nil
}

// all yields all records of parked mail, the oldest first.
func all(ctx context.Context, records store.Records) func(func(store.Record, error) bool) {
	return func(yield func(store.Record, error) bool) {
		const page = 20
		for after := uint64(0); ; {
			list, err := records.List(ctx, store.Query{Collection: collection, After: after, N: page})
			if err != nil {
				yield(store.Record{}, fmt.Errorf("pickup: parked mail: %w", err))
				return
			}
			for _, r := range list {
				if after = r.Version; !yield(r, nil) {
					return
				}
			}
			if len(list) < page {
				return
			}
		}
	}
}

// ListParked returns the parked mail of an agent, the oldest first. Errors are those of the
// store.
func ListParked(ctx context.Context, records store.Records) ([]Parked, error) {
	var list []Parked
	for r, err := range all(ctx, records) {
		if err != nil {
			return nil, err
		}
		p := Parked{Key: r.Key}
		if err := json.Unmarshal(r.Value, &p); err != nil {
			p.Reason = "the record cannot be read"
		}
		list = append(list, p)
	}
	return list, nil
}

// DropParked drops parked mail. Errors are store.ErrNotFound and other errors of the store.
func DropParked(ctx context.Context, records store.Records, key string) error {
	return records.Delete(ctx, collection, key, 0)
}

// RetryParked gives parked mail to the agent again, and drops it if the agent takes it.
// Errors are those of [agent.Agent.ServeMail] and of the store.
func RetryParked(ctx context.Context, a *agent.Agent, key string) error {
	r, err := a.Store().Records().Get(ctx, collection, key)
	if err != nil {
		return err
	}
	var p Parked
	if err := json.Unmarshal(r.Value, &p); err != nil {
		return fmt.Errorf("pickup: parked mail %s: %w", key, err)
	}
	if _, err := a.ServeMail(ctx, agent.Packet{Data: p.Data}); err != nil {
		return err
	}
	return DropParked(ctx, a.Store().Records(), key)
}
