// Package fleet tests agents on a bad network, among peers that misbehave. The agents run in
// virtual time (testing/synctest). The network delays, loses, duplicates and reorders
// packets, and cuts connections.
//
//	go test ./examples/fleet
//	go test ./examples/fleet -seed=17 -v
//	go test ./examples/fleet -seeds=20000 -timeout 2h
//
// A world is one run of the test, with a seed. The seed determines the parties, their actions
// and the fate of each packet. It does not determine the order in which goroutines run, the
// keys, and the random part of delays. With -seed, the test runs one world, and prints its
// events and the logs of its agents.
//
// # Parties
//
// Honest parties are agents with stores in memory. They send messages in threads, pings and
// requests. A handler answers a message, asks for another try, or refuses the message. The
// test stops honest agents and starts them again. It also kills them: from then on, all calls
// of the store and of the network fail, and another agent continues with the same stores.
// Honest agents move to other endpoints and rotate to other DIDs.
//
// TestMail has worlds with mediators and phones, which are honest parties too. A phone has no
// endpoint: the service of its DIDs is the DID of a mediator, and it collects its mail there,
// by polls, or by a connection that it keeps open. It moves to another mediator, rotates the DID
// that is enrolled or another one, and may have no network for up to two days when the faults
// have ended. Some phones have a second device, which has the keys of all DIDs of the phone,
// and collects for itself. Mediators are stopped, killed and moved, and their clocks are set
// back.
//
// Strangers are not agents. They write their packets themselves:
//
//   - a mute party never sends acks;
//   - a liar acks messages that it has not received;
//   - an echo sends back what it receives;
//   - a quarreller answers problem reports with problem reports;
//   - a binder replays packets of others, and claims their DIDs, to make its own connection
//     their return route;
//   - a ghost cannot be reached;
//   - a flooder writes from ever new DIDs, which cannot be reached. The stores of the agents
//     have less room than the flood needs.
//
// # What must hold
//
// The agents are busy for about half an hour of virtual time, under faults. Then the faults
// end, and four days pass. In the end, these statements must be true (invariants_test.go):
//
//   - Each message that Send has accepted was handled by its recipient, or was given up with
//     a reason that its sender knows.
//   - Each message was handled once, unless an agent was killed.
//   - Within a lane, the handlers were called in the order of Send.
//   - No agent sends anything any more, and no outbox or inbox has a waiting message.
//   - No goroutine of an agent is left, and no mediator holds mail of a phone.
//
// For phones, the same holds from Send to the handler of each device, with two exceptions:
//
//   - Letters in a lane keep their order where one mediator held them, the protocol is ordered,
//     and the DID of their sender resolves. A phone gets many letters at once, and handles
//     those of other protocols at the same time. A letter overtakes those at the mediator if it
//     leaves by a connection that the phone has opened to its sender, or by another mediator
//     after the phone has moved.
//   - A letter that leaves by such a connection is handled by the device that has opened it, and
//     by no other.
//
// # Known gaps
//
// Packages agent and protocols/pickup have known faults. Worlds avoid them, so that other
// faults are found. Each known fault has a flag, -gap-..., with which worlds do not avoid the
// fault. The comments in world_test.go describe these faults.
//
// # New parties
//
// A party is a type with the methods step, settle and stop. Add a new type to newWorld, and
// the statements that must hold for it to invariants_test.go.
//
// # Flags
//
//	-seeds N   run the worlds 0 to N-1 (300, or 30 with -short), and a quarter as many with mail
//	-seed N    run one world, and log it
package fleet
