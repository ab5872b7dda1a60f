//go:build crash

package crash_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

// The collections of a node that counts: the record total is how many messages it has
// counted, and there is a record with its number for each.
const (
	totals  = "totals"
	total   = "total"
	numbers = "numbers"
)

// count counts a message and answers it with its number. State and answer would part in
// a crash if they were not committed together with the end of the message.
func count(ctx context.Context, w agent.Responder, records store.Records, in *agent.Inbound) error {
	t, err := records.Get(ctx, totals, total)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return agent.Retry(0, err)
	}
	n, _ := strconv.Atoi(string(t.Value)) // 0 at first
	number := strconv.Itoa(n + 1)
	t.Collection, t.Key, t.Value = totals, total, []byte(number)
	answer, err := basicmessage.New(number, "")
	if err != nil {
		return err
	}
	answer.ID = answerID(in.Message.ID, number)
	// One message at a time changes the total. A message that was counted before has
	// a number, and counting it again would show in the total.
	return w.Commit(ctx, agent.Changes{
		Put:  []store.Record{t, {Collection: numbers, Key: number, Value: []byte(in.Message.ID)}},
		Send: []*message.Message{answer},
	})
}

// answerID is the id of the answer that gives a message its number.
func answerID(id, number string) string { return id + "=" + number }

// TestCommit kills an agent that counts the messages of another one and answers each with
// its number, or the database server of that agent. Each message that was accepted has one
// number, and the answer has the same. The answers leave by HTTP, in the response to the
// message, and by the WebSocket of the message.
func TestCommit(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		testCommit(t, "sqlite", 1, *kills, func(counter *node) { counter.kill(t) })
	})
	// Two processes share the database and count in the same record.
	t.Run("PostgreSQL", func(t *testing.T) {
		server, err := pgtest.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
		dsn, err := server.DSN(t.Context(), "counter")
		if err != nil {
			t.Fatal(err)
		}
		testCommit(t, dsn, 2, 6, func(counter *node) {
			if rand.N(3) > 0 {
				counter.kill(t)
				return
			}
			if err := server.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// testCommit strikes one of the processes that count, or what they share.
func testCommit(t *testing.T, dsn string, processes, strikes int, strike func(counter *node)) {
	const sent = 300
	sender := newNode(t, "a")
	var counters []*node
	var addresses []string
	for i := range processes {
		n := newNode(t, "b"+strconv.Itoa(i))
		n.Store, n.Shared, n.Counts = dsn, processes > 1, true
		counters, addresses = append(counters, n), append(addresses, n.Listen)
	}
	dids, secrets, err := identities(addresses...)
	if err != nil {
		t.Fatal(err)
	}
	sender.Store, sender.Peer = "sqlite", dids
	from, own, err := identities(sender.Listen)
	if err != nil {
		t.Fatal(err)
	}
	sender.DID, sender.Secrets = from["http"], own
	for _, n := range counters {
		n.DID, n.Secrets = dids["http"], secrets
	}
	w := &world{nodes: append([]*node{sender}, counters...)}
	for _, n := range w.nodes {
		n.save(t)
		n.start(t)
	}
	for n, struck := 0, 0; n < sent; {
		if sender.ask(t, []string{"http", "back", "ws"}[n%3]) {
			n++
		}
		if n >= (struck+1)*sent/(strikes+1) && struck < strikes {
			struck++
			w.wait(t, time.Duration(rand.N(200))*time.Millisecond)
			strike(counters[rand.N(processes)])
		}
		w.wait(t, 0)
	}
	// Each answer comes as a message of its own, handled by the sender.
	answers := newTimes()
	for last, moved := -1, time.Now(); time.Since(moved) < patience; w.wait(t, 100*time.Millisecond) {
		answers = newTimes()
		sender.handled(t, answers)
		if sender.asked() == 0 && answers.len() >= sender.accepted.len() {
			break
		}
		if now := answers.len() + sender.accepted.len(); now != last {
			last, moved = now, time.Now()
		}
	}
	for _, n := range w.nodes {
		n.end()
	}

	s, err := openStore(t.Context(), counters[0].settings, sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.Records().Get(t.Context(), totals, total)
	if err != nil || string(all.Value) != strconv.Itoa(sender.accepted.len()) {
		t.Errorf("%s messages are counted, %v, of %d", all.Value, err, sender.accepted.len())
	}
	list, err := s.Records().List(t.Context(), store.Query{Collection: numbers, N: 2 * sent})
	if err != nil {
		t.Fatal(err)
	}
	counted, answered := make(map[string]bool), answers.all()
	for _, r := range list {
		id := string(r.Value)
		if counted[id] {
			t.Errorf("message %s is counted twice", id)
		}
		counted[id] = true
		if _, ok := answered[answerID(id, r.Key)]; !ok {
			t.Errorf("message %s has number %s and no answer with it", id, r.Key)
		}
		delete(answered, answerID(id, r.Key))
	}
	for id := range sender.accepted.all() {
		if !counted[id] {
			t.Errorf("message %s is not counted", id)
		}
	}
	for id := range answered {
		t.Errorf("answer %s gives no number that is known", id)
	}
	t.Logf("%d messages are counted, %d answers were handled", len(list), answers.len())
}
