package mediator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
)

// An account that nobody uses ends, and its recipients are free. Accounts that are used, have mail or
// are blocked stay.
func TestUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const used, waits, blocked = "did:example:used", "did:example:waits", "did:example:blocked"
		n := newNode(t, memory(), func(c *mediator.Config) { c.Limits.MaxUnused = time.Hour })
		n.enroll(alice, used, waits, blocked)
		n.register(alice, "did:example:1", true)
		n.register(used, "did:example:2", true)
		n.send(waits, "hello")
		if _, err := n.Box(used).Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.Block(t.Context(), blocked); err != nil {
			t.Fatal(err)
		}
		n.runs()
		time.Sleep(59*time.Minute + time.Second)
		wantErr(t, alice, errOf(n.Account(t.Context(), alice)), nil)
		time.Sleep(15 * time.Minute)
		for id, want := range map[string]error{alice: mediator.ErrNotEnrolled, used: nil, waits: nil, blocked: mediator.ErrBlocked} {
			wantErr(t, id, errOf(n.Account(t.Context(), id)), want)
		}
		wantErr(t, "its recipient", errOf(n.Owner(t.Context(), "did:example:2")), nil)
		n.register(used, "did:example:1", false)
		n.enroll(alice)
		n.wantMail(waits, "hello")
	})
}
