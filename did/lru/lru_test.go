package lru_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/did/lru"
)

func TestMap(t *testing.T) {
	filled := func() *lru.Map[string, int] {
		m := new(lru.Map[string, int])
		m.Put("a", 1)
		m.Put("b", 2)
		m.Put("c", 3)
		return m
	}
	for _, tt := range []struct {
		name string
		use  func(m *lru.Map[string, int])
		want []int // values, the one used least recently first
	}{
		{"as put", func(*lru.Map[string, int]) {}, []int{1, 2, 3}},
		{"got", func(m *lru.Map[string, int]) { m.Get("a") }, []int{2, 3, 1}},
		{"got what is not there", func(m *lru.Map[string, int]) { m.Get("d") }, []int{1, 2, 3}},
		{"put anew", func(m *lru.Map[string, int]) { m.Put("b", 4) }, []int{1, 3, 4}},
		{"removed", func(m *lru.Map[string, int]) { m.Remove("b") }, []int{1, 3}},
		{"removed and put", func(m *lru.Map[string, int]) { m.Remove("a"); m.Put("a", 5) }, []int{2, 3, 5}},
		{"removed twice", func(m *lru.Map[string, int]) { m.Remove("c"); m.Remove("c") }, []int{1, 2}},
		{"oldest removed", func(m *lru.Map[string, int]) { m.RemoveOldest() }, []int{2, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := filled()
			tt.use(m)
			if m.Len() != len(tt.want) {
				t.Errorf("%d entries, want %d", m.Len(), len(tt.want))
			}
			for _, want := range tt.want {
				if v, ok := m.RemoveOldest(); !ok || v != want {
					t.Errorf("oldest is %d, %v, want %d", v, ok, want)
				}
			}
			if v, ok := m.RemoveOldest(); ok || v != 0 || m.Len() != 0 {
				t.Errorf("emptied: %d, %v and %d entries", v, ok, m.Len())
			}
		})
	}
}

func TestMapValues(t *testing.T) {
	var m lru.Map[string, int]
	if v, ok := m.Get("a"); ok || v != 0 {
		t.Errorf("Get of the zero Map: %d, %v", v, ok)
	}
	if v, ok := m.Remove("a"); ok || v != 0 {
		t.Errorf("Remove of the zero Map: %d, %v", v, ok)
	}
	m.Put("a", 1)
	m.Put("a", 2)
	if v, ok := m.Get("a"); !ok || v != 2 || m.Len() != 1 {
		t.Errorf("Get: %d, %v, of %d entries", v, ok, m.Len())
	}
	if v, ok := m.Remove("a"); !ok || v != 2 || m.Len() != 0 {
		t.Errorf("Remove: %d, %v, then %d entries", v, ok, m.Len())
	}
	if v, ok := m.Get("a"); ok || v != 0 {
		t.Errorf("Get of a removed key: %d, %v", v, ok)
	}
}
