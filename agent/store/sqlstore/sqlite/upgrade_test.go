package sqlite_test

import (
	"errors"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// withoutShares takes from a store what the migration for mail of several boxes has added.
const withoutShares = `
	DELETE FROM didcomm_schema WHERE version_id > 6;
	DROP TABLE mail_party; DROP TABLE mail_sender;
	DROP INDEX mail_order; DROP INDEX mail_shared; DROP INDEX mail_free; DROP INDEX mail_tried; DROP INDEX mail_recipient_free; DROP INDEX mail_recipient_tried; DROP INDEX mail_recipient_order;
	ALTER TABLE mail DROP COLUMN sender; ALTER TABLE mail DROP COLUMN recipient; ALTER TABLE mail DROP COLUMN turn;
	ALTER TABLE mail DROP COLUMN deliveries; ALTER TABLE mail DROP COLUMN boxes;
	ALTER TABLE mailbox DROP COLUMN tried; ALTER TABLE mailbox DROP COLUMN turn; ALTER TABLE mailbox DROP COLUMN written; ALTER TABLE mailbox DROP COLUMN name;
	CREATE UNIQUE INDEX mail_seq ON mail (seq); CREATE INDEX mail_free ON mail (box, seq) WHERE due = 0;`

// TestFromBeforeShares: mail from before a packet could be in several boxes is leased, counted
// and acked.
func TestFromBeforeShares(t *testing.T) {
	path := filled(t)
	exec1(t, path, withoutShares)
	m, box := open(t, path, sqlstore.Config{Mailbox: store.MailboxConfig{MaxBoxItems: 4}}).Mailbox(), "did:example:box"
	if s, err := m.Status(t.Context(), box); err != nil || s.Count != 3 || s.Leased != 1 {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := m.Deposit(t.Context(), store.Mail{ID: "new", PairShare: store.Share{Items: 3}}, box); !errors.Is(err, store.ErrFull) {
		t.Errorf("Deposit: %v", err)
	}
	if err := m.Deposit(t.Context(), store.Mail{ID: "new"}, box, "other"); err != nil {
		t.Error(err)
	}
	mail, err := m.Lease(t.Context(), box, store.Pick{N: 9, Held: true}, time.Hour)
	if err != nil || len(mail) != 4 || mail[0].ID != "1" || mail[0].Deliveries != 2 || mail[3].ID != "new" {
		t.Errorf("leased %+v, %v", mail, err)
	}
	if n, err := m.Ack(t.Context(), box, "1", "2", "3"); n != 3 || err != nil {
		t.Errorf("acked %d, %v", n, err)
	}
	if s, err := m.Status(t.Context(), box); err != nil || s.Count != 1 || s.Leased != 1 {
		t.Errorf("status %+v, %v", s, err)
	}
}

// withoutClasses takes from a store what the migrations for classes have added.
const withoutClasses = withoutShares + `
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
