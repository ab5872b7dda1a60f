package didpeer

import (
	"container/list"
	"strings"
	"sync"
)

// seen remembers the long forms of did:peer:4 by their short forms, the least
// recently used go first. The zero value is empty.
type seen struct {
	mu    sync.Mutex
	order *list.List               // of long forms, most recent first; guarded by mu
	byDID map[string]*list.Element // by short form; guarded by mu
	bytes int                      // of all long forms; guarded by mu
}

func (s *seen) get(short string) (long string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byDID[short]
	if !ok {
		return "", false
	}
	s.order.MoveToFront(e)
	return e.Value.(string), true
}

// put keeps long, at least until the next put, within limit bytes in all.
func (s *seen) put(short, long string, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byDID == nil {
		s.order, s.byDID = list.New(), map[string]*list.Element{}
	}
	if e, ok := s.byDID[short]; ok {
		s.order.MoveToFront(e)
		return
	}
	// A copy: id may be a part of a whole message.
	long = strings.Clone(long)
	s.byDID[long[:len(short)]] = s.order.PushFront(long)
	s.bytes += len(long)
	for s.bytes > limit && s.order.Len() > 1 {
		last := s.order.Back()
		old := s.order.Remove(last).(string)
		s.bytes -= len(old)
		delete(s.byDID, old[:strings.LastIndexByte(old, ':')])
	}
}
