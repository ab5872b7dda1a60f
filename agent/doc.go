// Package agent is a DIDComm agent: it takes packets in from any transport,
// hands the messages in them to protocol handlers, and sends messages out.
//
// Make a Mux of the protocols to serve, an Agent with New, and keep Run running
// as long as the agent lives; it owns every goroutine. Mount the Agent, which is
// a transport.Handler, on the transports that shall receive. Then use the verbs
// of the protocol packages, or Send and Request:
//
//	a, err := agent.New(agent.Config{
//		DID:     "did:peer:2...",
//		Packer:  packer,
//		Handler: agent.NewMux(trustping.Handle(), basicmessage.Handle(fn)),
//		Senders: map[string]transport.Sender{"https": client, "wss": socket},
//	})
//	go a.Run(ctx)
//	<-a.Ready()
//	rtt, err := trustping.Ping(ctx, a, "did:web:example.com")
//
// # Policy
//
// A plaintext packet is refused unless Config.AcceptPlaintext is set. An
// anonymous message (anoncrypt) is taken in and marked: its Inbound.From is
// empty whatever it claims, it cannot be replied to, and it binds no return
// route; nor does a signed message that does not name us. A peer that cannot be
// answered, because it did not authenticate, learns nothing of what went wrong.
//
// An error that a handler returns goes to the log; a *message.Problem goes to the
// peer as a problem report as well, and so does a panic, as an internal error. A
// message that has expired is dropped though the peer is told that it came, and so is
// one of a thread with too many problems, until an hour after the last of these.
//
// # Problem reports
//
// A message named problem-report is a report, whatever its protocol and version,
// and whether its body can be read or not (message.ReadProblem). It goes to the
// waiting Request whose thread or message id its thid or pthid names, else to the
// handler; a Mux gives it to the handler of Report Problem 2.0 unless it has one for
// that very type, and without either it is logged.
//
// So that reports cannot go round, nothing that the agent does by itself answers a
// report: no report, and no ack. Nor does a report answer an empty message. At most
// Config.MaxThreadProblems reports are made in a thread, with which counts what
// names one of its messages, or our report, as its parent (pthid); and a thread that
// had more by itself, ours and the peer's, is one with too many problems. An answer
// that a Request waits for is taken all the same. And whatever threads a peer begins,
// it is sent at most Config.ReportBurst reports at once, then Config.ReportsPerHour,
// but for those in the response to its own POST. Acks and ping-responses, which a peer
// asks for, have a wider limit where they leave by another connection than the asking
// came by (Config.AnswerBurst). A message over a limit is not sent, and logged; an ack
// is sent when the message comes again, if there is room then. A report that a Handler
// gives to its Responder counts for the peer as well; what a program sends by Send
// does not.
//
// # What a peer may rely on
//
// A packet is answered with an HTTP 2xx when its message is in the inbox, or
// its handler has returned. A message in the inbox is handled, if not by this
// process then by the next one that has the same inbox. When there is no room, or
// the inbox fails, HTTP answers 503 with Retry-After, and a WebSocket brings a
// problem report of code e.p.me.res.storage without an ack; a peer that cannot be sent
// that sees the connection end. A message that cannot be opened for now, as when the
// DID of its sender, of its signer or of the issuer of its from_prior cannot be
// reached, is answered by a 503, or ends the connection, since nobody is known to whom
// a report could go. So one DID out of reach ends a WebSocket that many senders share,
// as a mediator's, for all of them, and again when the message comes again. A message
// is refused for good, by a 4xx, only for what will not change, such as a DID that
// does not exist.
//
// WebSocket has no receipt of its own: that a frame was written says nothing. A
// message that is sent over a WebSocket asks for an ack (please_ack). The message is
// delivered when the ack has come, or an answer on a thread that the message began, or
// a problem report that has the message as its parent and acks no other. A report that
// the peer is busy does not count. If the connection ends before, the message is sent again. A party that
// never acked and says nothing for Config.AckTimeout, while the connection lives, is
// taken for one that does not ack, until it does; so is one that acked before and has
// let three acks in a row go by. To such a party a message is delivered when it was
// written, and what was written as the connection ended is lost. The same holds for
// Requests, whose caller sees that no answer came, for acks, which a peer that needs
// one asks for again, for problem reports, which nothing answers, and for anonymous
// messages, which nobody can ack.
//
// # What a caller may rely on
//
// Send and Request work from when the Agent is Ready until Run returns. When Send has
// returned nil, the message is in the outbox, as durably as that keeps it, packed.
// It leaves while Run runs, is tried at each way to the
// recipient, then at those it has moved to since, and then again after a delay
// that doubles, or that the recipient asked for, until a way has taken it or its
// time is up: expires_time, or Config.MaxAge. Then it is buried: kept with its last
// error, and told to Trace.Buried (but not if the process ends in between).
// Parties that are slow to fail are tried by one worker at a time, so that others
// are not delayed. Package agent/delivery says more. An Outcome is the state of a message
// to one recipient: the option Outcomes hears of each, and the error of a Send that
// waits (AwaitDelivery, Once) has the last.
//
// A Reply that leaves by the connection which its message came by is kept with the
// message instead, and sent again when the message comes again. A message is delivered,
// and does not come again, when any reply to it has arrived. Of two replies, one by the
// connection and one by another way, the first can be lost with the connection.
//
// Push writes to a live connection, or fails: nothing is stored. Relay is Send for a
// packet that is not ours.
//
// # Custody
//
// A Handler that is durable and idempotent by itself, such as that of a mediator for
// forwards, can take messages in: see Protocol.Custody. It runs before the 2xx, its
// success is the acceptance. The message is not in the inbox, and may be handled
// again whenever it comes again.
//
// # Duplicates
//
// A message is handled once: the same id from the same sender within
// Config.ReplayWindow is not handled again. The replies that went by its connection
// are sent again, by the connection that the message comes by now. If there were none,
// the ack that the message asks for is sent, by any way. While the handler runs, both
// wait for its end; a message that asks for its reply on an HTTP connection is answered
// by a 503 meanwhile. A message that comes
// again binds no return route, since another party may have sent it. A handler is called
// again if it asks for that (Retry), if the agent stopped before it had returned, and
// if the process ended before the inbox knew that it had, or the inbox failed until
// its lease was lost: handlers that must not do a thing twice check for themselves.
// Messages that the process had in hand two times as it ended are handled one at a
// time, since one of them may be what ends it. After Config.MaxTries a message is set
// aside, as is one whose handler panicked or returned an error that is neither a Retry
// nor a Problem, for a person to look at (store.InboxAdmin).
//
// The other side of that: a message sent may arrive more than once, with the same
// id, when its receipt was lost.
//
// # Acks
//
// A message that has please_ack is acked once it was handled: in its first reply,
// else in an empty message. It is acked before that if it is put off, since the ack
// says that it is here and no more. Older ids in
// please_ack are acked if they came from the same sender and are remembered. No
// forward is acked, nor an ack, nor a problem report.
//
// # Order
//
// Messages of one thread that come by one connection (such as a WebSocket) are
// handled one at a time, in the order in which they came. So are those of one party in
// an ordered protocol (Protocol.Ordered, Orderer), whatever ways they come by, and the
// first Config.SessionQueue of those that an earlier life of the agent left over. A
// message is handled here when its handler has returned. Other messages are handled at the
// same time. A message that cannot be opened at once holds up those behind on its
// connection for a second (transport.Turn). Answers to a waiting Request overtake those
// in a lane. What a handler asked to get again (Retry) comes when it is due. Agents that
// share an inbox do not wait for each other.
//
// On the way out, messages in one lane to one party leave in the order of Send, one at
// a time. None leaves before the one ahead is delivered or buried, or has left the lane
// because its recipient refused it several times. They arrive in that order, unless one
// arrives twice. The lane of a message is its thread. An ordered protocol has one lane
// between two DIDs instead, and so has each name given by the option Lane. Replies that
// go by the connection which their message came by are in no lane.
//
// # Clauses
//
// Of DIDComm v2.1: Message Headers (to, from, created_time, expires_time),
// Threading, ACKs (please_ack), Problem Reports and Cascading Problems, The
// Empty Message, Service Endpoint, Failover, Using a DID as an endpoint and the
// sender's side of Routing 2.0 (with agent/envelope); and the return-route
// extension.
package agent
