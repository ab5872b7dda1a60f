package identity_test

import (
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// Identities in a database are those of all its processes, and there after a restart.
func TestSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	h := newHost()
	open := func() *sqlstore.Store {
		t.Helper()
		st, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		h.records = st.Records()
		return st
	}
	st := open()
	testTwoProcesses(t, h)
	testSharedAtOnce(t, h, 5)
	added, retired, removed := h.peer4(t), h.web(t, "retired.example"), h.peer2(t)
	s := h.start(t)
	add(t, s, added, retired, removed)
	if err := s.Retire(t.Context(), retired.DID(), h.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), removed.DID()); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open()
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	s = h.start(t)
	works(t, s, added, true)
	works(t, s, retired, false)
	works(t, s, removed, false)
}
