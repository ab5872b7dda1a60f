package didpeer

import (
	"strings"
	"sync"

	"github.com/didcomm-go/didcomm/did/lru"
)

// seen remembers the long forms of did:peer:4 by their short forms, the least
// recently used go first. The zero value is empty.
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

// put keeps long, at least until the next put, within limit bytes in all.
func (s *seen) put(short, long string, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.longs.Get(short); ok {
		return
	}
	// A copy: id may be a part of a whole message.
	long = strings.Clone(long)
	s.longs.Put(long[:len(short)], long)
	s.bytes += len(long)
	for s.bytes > limit && s.longs.Len() > 1 {
		oldest, _ := s.longs.RemoveOldest()
		s.bytes -= len(oldest)
	}
}
