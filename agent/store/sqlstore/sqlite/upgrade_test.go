package sqlite_test

import (
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// withoutClasses takes from a store what the migrations for classes have added.
const withoutClasses = `
	DELETE FROM didcomm_schema WHERE version_id > 4;
	DROP INDEX inbox_packet_message; ALTER TABLE inbox_packet DROP COLUMN message;
	DROP TABLE inbox_party;
	DROP INDEX inbox_past; DROP INDEX inbox_kept; CREATE INDEX inbox_kept ON inbox (seq) WHERE state > 1 AND size > 0;
	ALTER TABLE inbox DROP COLUMN party; ALTER TABLE inbox DROP COLUMN class;
	DROP INDEX outbox_peer_due; CREATE INDEX outbox_peer_due ON outbox_peer (due);
	DROP INDEX outbox_buried; CREATE INDEX outbox_buried ON outbox (seq) WHERE place = 2;
	ALTER TABLE outbox_peer DROP COLUMN class; ALTER TABLE outbox DROP COLUMN class;`

// TestFromBeforeClasses: the items of a store from before there were classes are the owner's.
// Its messages are found, and have shares.
func TestFromBeforeClasses(t *testing.T) {
	path := filled(t)
	exec1(t, path, withoutClasses)
	s := open(t, path, sqlstore.Config{Reclaim: true, Inbox: store.InboxConfig{MaxRemembered: 12}})
	ctx := t.Context()
	l, err := s.Outbox().Lease(ctx, time.Hour, store.ClassOwn)
	if err != nil || l.Item.Class != store.ClassOwn || s.Outbox().Ack(ctx, l) != nil {
		t.Errorf("leased %v, %v", l, err)
	}
	if e, err := s.Outbox().(store.OutboxAdmin).Get(ctx, "buried"); err != nil || e.Item.Class != store.ClassOwn {
		t.Errorf("buried: %+v, %v", e, err)
	}
	inbox := s.Inbox().(store.InboxAdmin)
	for _, id := range []string{"done", "aside", "later"} {
		if list, err := inbox.Find(ctx, id); err != nil || len(list) != 1 || list[0].Item.ID != id {
			t.Errorf("found %v of %q, %v", list, id, err)
		}
	}
	// One party has the three old messages. A flood of strangers leaves them.
	for i := range 20 {
		id := string(rune('a' + i))
		if _, _, err := s.Inbox().Add(ctx, store.Received{Sender: id, ID: id, Peer: id, Class: store.ClassStranger, Until: time.Now().Add(time.Hour)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	list, err := inbox.List(ctx, 0, 10)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	known, err := s.Inbox().Remembered(ctx, list[0].Item.Sender, []string{"done", "aside", "bare"})
	if err != nil || len(known) != 3 {
		t.Errorf("remembered %q, %v", known, err)
	}
}
