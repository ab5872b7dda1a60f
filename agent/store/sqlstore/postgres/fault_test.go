//go:build postgres

package postgres_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// TestFaults: the class of each error allows another try exactly if the cause may pass.
func TestFaults(t *testing.T) {
	for code, again := range map[string]bool{
		"25006": true, // read-only SQL transaction
		"40001": true, // serialization failure
		"40P01": true, // deadlock detected
		"53300": true, // too many connections
		"55P03": true, // lock not available
		"57014": true, // statement timed out
		"57P01": true, // admin shutdown
		"08006": true, // connection failure
		"22000": false,
		"53100": false, // disk full
	} {
		t.Run(code, func(t *testing.T) {
			dsn := newDSN(t)
			keys := open(t, dsn, sqlstore.Config{}).SealedKeys()
			if err := keys.Put(t.Context(), store.SealedKey{KID: "1"}); err != nil {
				t.Fatal(err)
			}
			run(t, dsn, `CREATE SEQUENCE tries;
				CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF nextval('tries') = 1 THEN RAISE EXCEPTION 'once' USING ERRCODE = '`+code+`'; END IF;
					RETURN OLD;
				END $$;
				CREATE TRIGGER fail BEFORE DELETE ON sealed_key FOR EACH ROW EXECUTE FUNCTION fail()`)
			if err := keys.Delete(t.Context(), "1"); (err == nil) != again {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

// TestEndedSession: the server ends a session that was idle for too long. The store connects
// again also if it gets the message of the server, as by TCP, and not a broken pipe.
func TestEndedSession(t *testing.T) {
	dsn := newDSN(t)
	s := open(t, newProxy(t, dsn).dsn+" options='-c idle_session_timeout=500'", sqlstore.Config{})
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range 2 {
		began := time.Now()
		for sessions := 1; sessions > 0; {
			err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'didcomm' AND query NOT LIKE 'LISTEN%'").Scan(&sessions)
			if err != nil {
				t.Fatal(err)
			}
			if time.Since(began) > time.Minute {
				t.Fatal("the server ended no session")
			}
		}
		if err := s.Outbox().Enqueue(t.Context(), store.Item{ID: fmt.Sprint(i), To: "did:a"}); err != nil {
			t.Errorf("Enqueue: %v", err)
		}
	}
}
