// Package agent is a DIDComm agent. An [Agent] opens the packets that any transport brings,
// gives the messages in them to protocol handlers, and sends messages.
//
// To begin, take these steps:
//
//  1. Make a [Mux] of the protocols that the Agent supports.
//  2. Call [Start].
//  3. Give the Agent to the transports that receive packets: it is a transport.Handler.
//  4. Send messages with the functions of the protocol packages, or with [Agent.Send] and
//     [Agent.Request].
//
// For example:
//
//	peers := network.New(network.Config{})
//	a, err := agent.Start(ctx, agent.Config{
//		DID:      id.DID(), // an identity.Identity
//		Keys:     id,
//		Resolver: peers.Resolver,
//		Senders:  peers.Senders(),
//		Handler:  agent.NewMux(trustping.Handle(), basicmessage.Handle(fn)),
//	})
//	defer a.Stop()
//	pong, err := trustping.Ping(ctx, a, "did:web:example.com")
//
// In place of Start, a program can call [New] and [Agent.Run]. All goroutines of the
// Agent end when Run returns.
//
// # Terms
//
//   - A party is the owner of one or more DIDs. The peer of a message is the other party.
//   - A packet is a packed message, as a transport carries it.
//   - A receipt is the confirmation of a transport that the peer has the packet, such as
//     status 2xx of HTTP. An ack is a message of the peer that confirms another message.
//   - A return route is an open connection on which we may send to the peer (the
//     return_route header).
//   - A lane is a sequence of messages whose order is kept: see Order below.
//   - A received message is set aside when it cannot be handled, and a message to be sent is
//     buried when it cannot be delivered. Both stay in the Store for a person to look at.
//
// # Which messages are accepted
//
// The Agent accepts encrypted and signed messages. A plaintext message is refused, unless
// Config.AcceptPlaintext is set.
//
// An anonymous message (anoncrypt) is accepted with these limits:
//
//   - Inbound.From is empty, even if the message has a from.
//   - The message cannot be answered.
//   - The connection of the message does not become a return route.
//
// A sender that is not authenticated does not learn why its message failed, except for a message
// that a Handler has in custody (Protocol.Custody), such as a forward: a problem is reported by the
// connection of the message, in a signed message that names no recipient.
//
// A signed message that is not encrypted, and does not name a DID of ours in its to header,
// may have been sent to another party, which has passed the message on. The specification
// forbids to refuse such a message. Inbound.Addressed is false, and:
//
//   - A [Mux] does not handle the message, unless its protocol is Public. The message is set
//     aside with [ErrNotAddressed], for a person to look at.
//   - The message is not acked, no problem is reported, and its connection does not become a
//     return route.
//   - The message counts for no limit of its signer. In the inbox it is one of the anonymous
//     messages.
//
// A message that has expired is dropped, and the sender is told that the message arrived.
// The same happens to a message of a thread with too many problem reports, until one hour
// after the last report.
//
// # Rotation
//
// A peer can prove that it has moved to another DID (from_prior). From then on:
//
//   - Messages to the old DID are sent to the new DID.
//   - Messages that arrive from the old DID are ignored and logged. The time of receipt
//     counts, and not the time in the message.
//   - Another from_prior of the old DID is followed only if it was issued later, and only
//     until the peer has sent a message without from_prior from the new DID.
//
// Some agents encrypt the first message from the new DID with the key of the old one. Such a
// message speaks for the old DID (Inbound.From): it can answer a Request to the old DID, but it
// does not move the peer, since anybody can name any DID as the new one. Replies to the message
// go to the new DID. The peer moves with a later message by a key of the new DID, but not with an
// ack or a problem report, which a third party could send because of a reply.
//
// To rotate a DID of ours, a program calls empty.Rotate of protocols/empty, or
// envelope.Packer.FromPrior. The section Another URL of package agent/identity describes the
// steps.
//
// A peer that has ended the relationship is sent nothing more: Send returns
// contact.ErrEnded, until a later message of the peer. Package agent/contact keeps these facts
// in Config.Store, and says more.
//
// # Many identities
//
// One Agent can act for many DIDs: give it an identity.Set as Config.Keys. Inbound.To is
// the DID that a message was sent to, and [PerIdentity] picks a Handler by that DID.
// Config.Shares limits what one DID may occupy in the inbox and in the outbox. Everything
// that the Agent remembers about a peer is kept per DID of ours. A peer that knows two
// such DIDs cannot find out from the answers that both belong to one Agent.
//
// # Problem reports
//
// An error that a Handler returns is logged. The sender is told only in these cases:
//
//   - The error is or wraps a *message.Problem: the sender gets a problem report.
//   - The Handler panics, or has returned a [Retry] Config.MaxTries times: the sender gets
//     a problem report of an internal error.
//
// The Agent treats every message whose type is named problem-report as a report, whatever
// its protocol, version and body (message.ReadProblem). The report goes to the waiting
// Request whose message or thread the report names in thid or pthid. Without such a
// Request, the report goes to the Handler. A Mux gives it to the handler for that very
// type, or to the handler of Report Problem 2.0, or logs it.
//
// Reports must not circulate between two agents:
//
//   - The Agent answers a report with neither a report nor an ack.
//   - The Agent does not report problems with an empty message.
//   - A thread has at most Config.MaxThreadProblems reports of both sides, and then one
//     that says so. A message that names a reported message, or the report, as its parent
//     (pthid) counts as part of that thread.
//   - The Agent sends a peer at most Config.ReportBurst reports at once, and then
//     Config.ReportsPerHour. Reports in the HTTP response to the peer's own POST are not
//     limited.
//
// Acks and ping responses that do not leave by the connection of their message have a
// limit of their own, which is higher (Config.AnswerBurst). A message over a limit is
// logged and not sent. An ack over the limit is sent when the message arrives again. A
// report that a Handler passes to its Responder counts towards the limits; a report that
// a program passes to Send does not.
//
// # Strangers
//
// The Agent knows a party that is a contact (package agent/contact): one that was sent a
// message first, or for which a program has called contact.Book.Keep, for example because
// the party has used an invitation, or because a policy admits it. All other parties are
// strangers, and so is a sender that is not proven. Anybody can make any number of DIDs, so
// that limits for each DID do not stop a flood of strangers. Therefore all strangers together
// have:
//
//   - a share of the inbox and a share of the outbox (store.ClassStranger);
//   - workers of their own that send their answers (Config.StrangerWorkers);
//   - three quarters of Config.MaxHandlers at most;
//   - limits of reports and answers apart from those of contacts (Config.MaxCounted).
//
// The messages of Send and Request are those of the owner, even if a Handler calls them. The
// messages of a Responder and of Report are answers. A message that Responder.Commit sends
// to others than the sender of the received message counts as one for a contact, since it
// makes contacts of them. An answer to a stranger has these limits:
//
//   - It is tried for Config.StrangerAge at most, and 3 times at most
//     (delivery.Config.StrangerTries), at the first 3 endpoints of the stranger that have at
//     most 3 routing keys. The DID is not resolved again.
//   - The answers to one message have twice the bytes of the message together, or
//     Config.StrangerBytes if that is more. This includes those that leave by the connection
//     of the message, which the inbox keeps. Reply returns [ErrAnswerLimit] for the next one.
//
// So one message makes the Agent send at most 9 times the bytes of its answers. Each forward
// adds a third, so that behind three mediators it is at most 22 times.
//
// If the share of strangers is full, a problem report, an ack or a ping response is logged
// and not sent. For any other answer, Reply returns a Retry. The Handler is called again, up
// to Config.MaxTries times. Then the message is set aside: the answer is missing, and the
// message is kept.
//
// # What a peer can rely on
//
// The Agent answers an HTTP POST with:
//
//   - 2xx when the message is in the inbox, or its Handler has returned. A message in the
//     inbox is handled by this process, or by the next process with the same Store.
//   - 429 with Retry-After when a Handler that has custody says that the sender has sent too much.
//   - 503 with Retry-After when there is no room, or the store fails, or a DID that the
//     message names cannot be reached. The DID can be that of the sender, of the signer,
//     or of the issuer of from_prior.
//   - 4xx when the message will never be accepted, for example because a DID does not
//     exist, or the message is too old.
//
// A WebSocket has no such answers:
//
//   - When there is no room, or the store fails, the sender gets a problem report of code
//     e.p.me.res.storage without an ack. If the sender cannot be told, the connection ends.
//   - When the message is too old, the sender gets a problem report of code
//     e.p.msg.created-time without an ack, if it asks for replies on the connection.
//   - When a DID cannot be reached, the sender is not known, and cannot be told. The
//     message is parked: the inbox keeps the packet, and the Agent opens it later. Parked
//     messages have a small share of the inbox for each host, and in all
//     (Config.MaxParked). Further messages are dropped and logged. After Config.MaxAge a
//     parked message is set aside for a person to look at.
//
// # What a sender can rely on
//
// Send and Request work between the moment when the Agent is Ready and the moment when
// Run returns. When Send returns nil, the packed message is in the outbox of
// Config.Store, as durably as the Store keeps it. The Agent then tries each endpoint of
// the recipient. If all endpoints fail, the Agent resolves the recipient's DID again, and
// retries after a delay. The delay doubles with each try, unless the recipient has asked
// for another. After expires_time, Config.MaxAge or Config.StrangerAge the message is
// buried: the outbox keeps it with its last error, and Trace.Buried is called unless the
// process ends in between. A slow recipient, or one that does not respond, occupies one
// worker only. Package agent/delivery says more.
//
// An [Outcome] is the state of a message to one recipient. The option [Outcomes] reports
// each change; the error of a Send with [AwaitDelivery] or [Once] has the last state.
//
// [Agent.Push] writes a message to an open connection, or fails. Nothing is stored.
// [Agent.Relay] sends a packet of another party unchanged.
//
// # Acks
//
// An HTTP POST has a receipt, and a WebSocket has none. A message that leaves by a
// WebSocket therefore asks for an ack (please_ack). The message counts as delivered when
// one of these messages arrives:
//
//   - the ack,
//   - an answer, if the message has begun its thread,
//   - a problem report whose parent is the message, and which acks no other message. A
//     report that the recipient is busy does not count.
//
// If the connection ends before that, the message is sent again.
//
// A mediator acks nothing. So a message leaves by a WebSocket of a mediator only if the
// mediator has no HTTP endpoint. It then counts as delivered when the connection has stayed
// open for Config.AckTimeout.
//
// Some recipients never send acks. The Agent counts a recipient as one of them if no ack
// arrives within Config.AckTimeout although the connection stays open: at once if the
// recipient has never sent an ack, and otherwise after three missing acks in a row.
// Messages to such a recipient count as delivered when they are written, until an ack comes.
// If the recipient is a contact, a later process knows that too (contact.Dialect). The same
// holds for messages that do not ask for an ack: Requests, acks, problem reports and anonymous
// messages.
//
// A message that the Agent receives with please_ack is acked once it was handled: in the
// first reply, or else in an empty message. If the Handler returns a [Retry], the ack is
// sent at once, since an ack means no more than receipt. Older ids in please_ack are
// acked if those messages came from the same sender and are still remembered. The Agent
// acks no forward, no ack and no problem report.
//
// # Replies
//
// A Reply that leaves by the connection of its message is kept with the message in the
// inbox. When the message arrives again, the reply is sent again.
//
// If a Handler sends two replies, one by the connection and one by another way, the first
// can be lost. If the connection ends and the second reply arrives, the sender counts its
// message as delivered, and does not send the message again.
//
// # Exactly once
//
// A message is handled once: the same id from the same sender to the same DID of ours is
// not handled again within Config.ReplayWindow. Anonymous senders cannot be told apart, so
// that of their messages, the same id with the same content is not handled again. When a
// message arrives again:
//
//   - The replies that left by its first connection are sent again, by the connection that
//     it has arrived by now.
//   - If there were no such replies, the ack that the message asks for is sent.
//   - If the message asks for no ack, has been handled, and comes by HTTP with return_route all,
//     a problem report of code e.p.crypto.message.dejavu is sent. A sender must not take the
//     report for a refusal: the Agent itself takes such a report for an ack.
//   - If the Handler is still running, nothing is sent until the Handler returns. Over HTTP
//     the answer is 503 if the message asks for its reply on the connection.
//   - The connection does not become a return route, since another party may have sent
//     the message.
//
// A message is refused if its created_time is longer ago than Config.ReplayWindow, or more
// than a day in the future. Otherwise somebody could keep the message, and send it again
// when the inbox has forgotten it. Messages that a mediator has kept may be as old as
// Config.MailWindow: see [Agent.ServeMail]. An ack and the answer to a Request may have any
// age.
//
// Only these messages can be handled a second time, after Config.ReplayWindow:
//
//   - a message without created_time;
//   - a message that the inbox had to forget earlier, because it had no room.
//
// A Handler is called again for the same message in these cases only:
//
//   - The Handler has returned a [Retry].
//   - The Agent was stopped before the Handler returned.
//   - The process ended, or the store failed for long, before the inbox knew that the
//     Handler had returned.
//
// A Handler that keeps its state in the records of Config.Store closes the last gap with
// Responder.Commit: the changed records, the messages to send and the end of the handled
// message become durable together, or not at all.
//
// A message is set aside for a person to look at (store.InboxAdmin) when it has been tried
// Config.MaxTries times, when its Handler panics, or when its Handler returns an error that
// is neither a Retry nor a Problem.
//
// If a receipt is lost, a peer receives the same message of ours, with the same id, more
// than once.
//
// # Custody
//
// A Handler that is durable and idempotent by itself can take messages into its own
// custody (Protocol.Custody), as a mediator does with forwards. Such a Handler is called
// before the peer gets an answer, and the message is accepted if the Handler returns nil.
// The message is not stored in the inbox, and is handled again whenever it arrives again.
//
// # Order
//
// Messages of one thread that arrive by one connection, such as a WebSocket, are handled
// one at a time, in the order of arrival. In an ordered protocol (Protocol.Ordered,
// [Orderer]) the same holds for all messages of one party to one DID of ours, even if
// they arrive by several connections. All other messages are handled at the same time.
// Note that:
//
//   - A message counts as handled when its Handler has returned.
//   - A message that cannot be opened at once delays the messages behind it on its
//     connection for one second at most (transport.Turn).
//   - The answer to a Request does not wait for other messages.
//   - A message whose Handler has returned a Retry is handled after its delay, out of
//     order.
//   - After a restart, the order of an ordered protocol holds for the first
//     Config.SessionQueue messages of a party.
//   - Agents that share a Store do not wait for each other.
//
// On the way out, messages in one lane to one party leave in the order of Send, one at a
// time. The next message leaves when the message ahead is delivered, is buried, or has
// left the lane because its recipient has refused it several times. Each DID of ours has
// lanes of its own. The lane of a message is:
//
//   - the lane with the name of the option [Lane], if that is given;
//   - in an ordered protocol, the lane of the protocol;
//   - otherwise, the lane of its thread.
//
// Replies by the connection of their message are in no lane.
//
// # Clauses
//
// Of DIDComm v2.1: Message Headers (to, from, created_time, expires_time), Threading, DID
// Rotation and Ending a Relationship (as receiver; the sender's side is in protocols/empty),
// ACKs (please_ack), Problem Reports and Cascading Problems, The Empty Message, Service
// Endpoint, Failover, Using a DID as an endpoint, the sender's side of Routing 2.0 (with
// agent/envelope), and the return-route extension.
package agent
