// Package delivery brings packets to the parties they are for: from "this packet is
// for that DID" to "that party has it".
//
// A Dispatcher owns the workers of an outbox, the return routes (which party can be
// reached by which live connection), the acks that are waited for, what is known of
// slow and of silent parties, and what has become of each item. Make one with New,
// keep Run running, and use its verbs:
//
//   - Deliver is durable, is tried again, and keeps the order of each lane.
//   - Relay is Deliver for a packet that is not ours (Routing 2.0, forward).
//   - Push writes to a live connection now, or fails.
//   - Try goes past the outbox: each way once, now.
//
// The package knows packets, DIDs as names, threads and times; it opens and packs
// nothing. Package agent makes the items, and tells Hear what messages say of those
// that wait for an ack.
//
// # Ways
//
// An item goes by the newest live connection that its recipient has bound for the
// pair of DIDs, and for its thread if the connection is for one. The item's routes
// follow in turn, and then those that the recipient has moved to since (Failover).
//
// # Acks
//
// Where a way gives no receipt (transport.Sender.Receipts), an item that asks for an
// ack is delivered when the ack has come, or an answer on a thread that the message
// began, or a problem report that has the message as its parent. If the connection
// ends before, the item is sent again. A party that never acked, and says nothing for
// AckTimeout while the connection lives, is taken for one that does not ack, until it
// does; so is one that acked before and has let three acks in a row go by. To such a
// party an item is delivered when it was written. Items that wait for an ack do not count among
// those that are being sent to a party at the same time.
//
// # Order
//
// Items of one lane leave in the order of Deliver: none leaves before the one ahead
// has ended. An item that its recipient refuses leaves the lane after 5 tries, so that
// it does not hold up the others for as long as its deadline allows. If the recipient
// says no more than that it is busy, and takes no other item either, the item leaves
// after 12.
//
// The package implements, of DIDComm v2.1, ACKs from the sender's side, Failover, and
// the lookup of the Return-Route extension.
package delivery
