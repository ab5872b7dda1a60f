// Package sqlsuite tests what package sqlstore promises beyond the contracts of package
// agent/store: that data outlives its process, that several processes can share a
// database, and that limits hold. Each back end must pass it, with [Run].
package sqlsuite

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Database is an empty database that only one test uses. Each call of Open opens another
// store on it, which is closed when the test ends.
type Database interface {
	Open(t testing.TB, cfg sqlstore.Config) *sqlstore.Store
	// SQL opens the database without a store, until the test ends.
	SQL(t testing.TB) *sql.DB
}

// Run runs the suite on the databases that fresh makes.
func Run(t *testing.T, fresh func(t *testing.T) Database) {
	for name, test := range map[string]func(*testing.T, Database){
		"Reopen":          testReopen,
		"Reclaim":         testReclaim,
		"ReclaimAwaiting": testReclaimAwaiting,
		"DeadProcess":     testDeadProcess,
		"SharedOutbox":    testSharedOutbox,
		"SharedInbox":     testSharedInbox,
		"SharedRecords":   testSharedRecords,
		"SharedKeys":      testSharedKeys,
		"SharedMailbox":   testSharedMailbox,
		"DeadMailbox":     testMailOfDeadProcess,
		"ClockSetBack":    testClockSetBack,
		"WakesOthers":     testWakesOthers,
		"LeaseWakes":      testLeaseWakesOthers,
		"OutboxLimits":    testOutboxLimits,
		"BuriedLimit":     testBuriedLimit,
		"InboxLimits":     testInboxLimits,
		"RememberedLimit": testRememberedLimit,
		"LoweredLimits":   testLoweredLimits,
		"AnyNames":        testAnyNames,
		"SharesCounted":   testSharesCounted,
		"SharesReopen":    testSharesReopen,
		"SmallerBound":    testSmallerBound,
		"OneFailsAlone":   testOneFailsAlone,
		"PartFailsAlone":  testPartFailsAlone,
		"ContextEnds":     testContextEnds,
		"Close":           testClose,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// ages is longer than any test runs.
const ages = 60 * 365 * 24 * time.Hour

func check(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func item(id, to, thread string) store.Item {
	return store.Item{
		ID: id, MessageID: "message of " + id, Thread: thread, From: "did:example:from", To: to, Owner: "did:example:from",
		Direct:    store.Packet{MediaType: "x/y", Data: []byte("packet of " + id)},
		Endpoints: []store.Endpoint{{URI: "https://example.org/" + id, RoutingKeys: []string{"did:example:mediator"}}},
		Created:   time.UnixMicro(1e15), Deadline: time.UnixMicro(4e15),
	}
}

func received(sender, id string) store.Received {
	return store.Received{
		Sender: sender, ID: id, Peer: sender, Owner: "did:example:us", To: "did:example:us", Type: "https://example.org/p/1.0/m", Thread: "thread of " + id,
		Packet: store.Packet{MediaType: "x/y", Data: []byte("packet of " + id)},
		Time:   time.UnixMicro(1e15), Until: time.UnixMicro(4e15),
	}
}

func mail(id string) store.Mail {
	return store.Mail{ID: id, For: "did:example:for", Packet: store.Packet{MediaType: "x/y", Data: []byte("mail " + id)}, Time: time.UnixMicro(1e15)}
}
