//go:build postgres

package identity_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
)

func TestPostgres(t *testing.T) {
	server, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	dsn, err := server.DSN(t.Context(), "identities")
	if err != nil {
		t.Fatal(err)
	}
	st, err := postgres.Open(t.Context(), dsn, sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	h := newHost()
	h.records = st.Records()
	testTwoProcesses(t, h)
	testSharedAtOnce(t, h, 10)
}
