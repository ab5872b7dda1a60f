// Package delivery sends packets to other parties, until each party has its packets or
// sending them has failed for good.
//
// An item (store.Item) is a packed message with the endpoints of its recipient. A lane is
// a sequence of items whose order is kept.
//
// Call [New] to make a [Dispatcher] for an outbox, and keep [Dispatcher.Run] running.
// There are four ways to send:
//
//   - [Dispatcher.Deliver] stores items in the outbox. Run sends them, retries, and keeps
//     the order of each lane.
//   - [Dispatcher.Relay] does the same for a packet of another party (Routing 2.0,
//     forward).
//   - [Dispatcher.Push] writes a packet to an open connection now, or fails.
//   - [Dispatcher.Try] sends an item now, without the outbox and without retries.
//
// A Dispatcher also keeps the return routes: the open connections on which a party
// can be reached. Add one with [Dispatcher.Bind].
//
// The package does not pack or open messages. Package agent packs the items, and reports
// with [Dispatcher.Settle] what received messages say about items that wait for an ack.
//
// # Routes
//
// An item is sent on the first route that accepts it, in this order:
//
//  1. the return routes that the recipient has for the pair of DIDs: the proven ones first,
//     then those for the thread of the item before those for all threads, and then the
//     newest first;
//  2. the endpoints of the item;
//  3. the endpoints that the recipient's DID document lists now, if it has changed
//     (Config.Moved), unless the item is of store.ClassStranger.
//
// Anybody can carry a message of a peer, and have a connection of their own bound as a return
// route of the peer. Therefore an item with endpoints leaves only by a return route that is
// proven. An item that asks for no ack leaves by its endpoints first.
//
// When such an item is sent, a probe leaves by one return route that is not proven: an empty
// message that asks for an ack (Config.Probe). The return route is proven when the ack
// arrives on the same connection. A connection that was opened to an endpoint of the peer
// needs no probe, and an ack that does not come on it has the same consequence as for the
// endpoint. The delay between two probes grows like that between two tries, so a peer
// that never acks gets everything by its endpoints, and once.
//
// If no ack comes for an item that left by a proven return route, the next try begins with
// the endpoints, and the return route is not proven anymore. A party that passes everything
// on between us and the peer can still have a return route proven, but cannot lose an item.
//
// A recipient without an endpoint is sent probes while it has several return routes, so that
// a proven one comes first. Without acks, the newest one is used.
//
// If no endpoint of an item can ever be used, for example because no Sender may connect to
// its address, return routes need no proof.
//
// # Hosts
//
// Anybody can make any number of DIDs with endpoints that do not answer. Therefore the tries
// to one host are few (Config.HostTries), whatever DIDs, ports and schemes lead to the host.
// More tries to a host that accepts packets quickly are allowed, up to half of the workers.
// The other items for the host wait for the end of a try.
//
// A try that takes longer than a tenth of Config.SendTimeout hangs. Such a try goes on in
// the slow lane, and another item takes its place. The slow lane has as many places as there
// are workers. If all are taken, the try ends, and the item is tried again after
// Config.SendTimeout. A host whose last try has hung and failed is slow: one try at a time,
// and none while a quarter of the slow lane is taken. Meanwhile an item for a slow host
// leaves by its next endpoint, or waits. When the host accepts an item, the others are sent
// at once.
//
// Items of store.ClassStranger have workers, hosts and a slow lane of their own. Such an
// item is given up after Config.StrangerTries.
//
// # Refusals
//
// An endpoint can refuse an item with an answer that leaves open whether a later try may
// succeed, such as HTTP status 500. The item is tried again. If the endpoint is out of order,
// all items for it are refused, and none may be lost. If the endpoint dislikes this item, no
// further try helps. Therefore the Dispatcher counts how many tries of an item in a row were
// refused with the same status by each endpoint that was reached. The delay grows with the
// tries that were refused, whatever has failed before. A try that another item or a connection
// has brought forward does not count, and a try that reaches no endpoint neither counts nor ends
// the row. An endpoint that is busy ends the row. If since the last try an endpoint has accepted
// another item that the endpoint had refused, the endpoint may be out of order in part: the try
// does not count, and the count is halved. The counts are in memory, so a restart begins a new
// row, as can a great number of refused items.
//
// After Config.RefusedTries, the item is given up if each of these endpoints has accepted
// another item for the recipient since the last try. If not, each gets a probe: an empty
// message (Config.Probe), which counts as another item, and hides its sender if the refused item
// does. The next probe follows when the count has doubled. The reason of the outcome is the
// answer.
//
// This is not so for items of store.ClassStranger, which have Config.StrangerTries.
//
// # Lost replies
//
// When an endpoint has taken an item, its reply can be lost (transport.SendError.Taken). Then
// the item is sent again, so that the recipient repeats its reply: twice at most after
// replies that broke off, and until its deadline while we have no room for the reply. After
// that the item counts as delivered. An item of store.ClassStranger counts as delivered at
// once.
//
// # Acks
//
// Some transports give no receipt (transport.Sender.Receipts). An item that asks for an
// ack, and was sent by such a transport, counts as delivered when the recipient sends one
// of these:
//
//   - an ack of the message (please_ack, ack);
//   - an answer, whose thid is the id of the message;
//   - a problem report, whose pthid is the id of the message.
//
// If the connection ends before that, the item is sent again. If nothing comes within
// Config.AckTimeout although the connection stays open, the Dispatcher may conclude that
// the recipient does not send acks:
//
//   - at once if the recipient has never sent an ack;
//   - after three missing acks in a row if the recipient has sent acks before.
//
// The Dispatcher does not conclude that if another endpoint of the recipient was tried first
// and was busy. Then the item is sent again.
//
// From then on, until the recipient sends an ack, an item for this recipient counts as
// delivered when it is written to the connection. Config.LearnedAcks and Config.NeverAcks keep
// this knowledge for a later process.
//
// A mediator does not ack a forward. So a forward leaves by an endpoint with receipts, if the
// mediator has one, and does not fall back to a WebSocket of the same mediator: a mediator that
// dies, or that has no room, would lose what was only written to the connection. A forward that
// can only leave by a WebSocket counts as delivered when the connection stays open for
// Config.AckTimeout, unless its recipient answers before. The same holds for the packets of
// [Dispatcher.Relay].
//
// Items that wait for an ack do not count towards the number of items that are sent to a
// recipient at the same time.
//
// # Order
//
// The items of a lane are sent in the order of Deliver. None is sent before the one ahead
// of it is delivered or has failed for good. So that an item which its recipient does not
// accept does not block its lane, the item leaves the lane and is retried on its own
//
//   - after 5 tries, if the recipient refuses the item, or is busy but accepts others;
//   - after 12 tries, if the recipient is busy and accepts no other item.
//
// # Specification
//
// The package implements these parts of DIDComm v2.1: ACKs as the sender, Failover, and
// the choice of a connection in the Return-Route extension.
package delivery
