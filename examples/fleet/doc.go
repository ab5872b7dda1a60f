// Package fleet proves that agents keep their promises in a world that keeps none:
// a fleet of agents in virtual time (testing/synctest), over a network that delays,
// loses, duplicates, reorders and cuts, among peers that misbehave.
//
//	go test ./examples/fleet
//	go test ./examples/fleet -seed=17 -v
//	go test ./examples/fleet -seeds=20000 -timeout 2h
//
// One seed is one world. The seed draws the parties, their acts and the fate of each
// packet; the order in which goroutines run, keys and the jitter of delays are not
// drawn by it. With -seed one world runs, and logs its events and the logs of its
// agents.
//
// # Who lives there
//
// Honest agents are real ones on stores in memory. They chat in threads, ask, ping
// and request, and answer, put off or refuse the messages that they get. Each is now
// and then stopped and started again. Each is killed: its calls to store and network
// fail from then on, and another agent begins on its stores. Each moves to other
// endpoints, and rotates to another DID.
//
// Strangers write their packets by hand: a mute party that never acks, a liar that
// acks what it never got, an echo, a quarreller that answers reports by reports, a
// binder that replays the packets of others, and claims their names, to bind return
// routes to its own connection, and a ghost that cannot be reached.
//
// # What must hold
//
// The agents are busy for about half an hour, under faults. Then the faults end, and
// four days pass. See invariants: what Send took was handled by its recipient, or
// given up with a reason that its sender has; it was handled once where nobody was
// killed, and begun in the order of Send within a lane; nothing is sent any more;
// nothing waits in an outbox or inbox; no goroutine of an agent is left.
//
// # Known gaps
//
// Worlds avoid the known faults of package agent, so that others are seen. Each such
// gap has a flag, -gap-..., with which worlds do not avoid it; world_test.go says what
// happens then.
//
// # To add to it
//
// A role is a type with step, settle and stop. Add it to newWorld, and what must hold
// for it to invariants.
//
// # Flags
//
//	-seeds N   run the worlds 0 to N-1 (300, or 30 with -short)
//	-seed N    run one world, and log it
package fleet
