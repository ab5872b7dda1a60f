package didpeer

import (
	"strings"
	"sync"

	"github.com/didcomm-go/didcomm/did/lru"
)

// seen keeps long forms of did:peer:4 by their short forms. It drops the least
// recently used ones first. The zero value is empty.
type seen struct {
	mu    sync.Mutex
	longs lru.Map[string, string] // guarded by mu
	bytes int                     // of all long forms; guarded by mu
}

func (s *seen) get(short string) (long string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longs.Get(short)
}

// put keeps a long form, and drops others until all of them have at most limit bytes.
// The last one put is kept even if it is longer than limit.
func (s *seen) put(short, long string, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.longs.Get(short); ok {
		return
	}
	// The DID may be a substring of a message, which would stay in memory.
	long = strings.Clone(long)
	s.longs.Put(long[:len(short)], long)
	s.bytes += len(long)
	for s.bytes > limit && s.longs.Len() > 1 {
		oldest, _ := s.longs.RemoveOldest()
		s.bytes -= len(oldest)
	}
}
