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
//	rtt, err := trustping.Ping(ctx, a, "did:web:example.com")
//
// # Policy
//
// A plaintext packet is refused unless Config.AcceptPlaintext is set. An
// anonymous message (anoncrypt) is taken in and marked: its Inbound.From is
// empty whatever it claims, it cannot be replied to, and it binds no return
// route; nor does a signed message that does not name us. A peer that cannot be answered, because it did not authenticate,
// learns nothing of what went wrong.
//
// A message is handled once: the same id from the same sender within
// Config.ReplayWindow is dropped, and so is one that has expired; the peer is
// told that it arrived all the same. An error that a handler returns goes to the
// log; a *message.Problem goes to the peer as a problem report as well, and so
// does a panic, as an internal error. Reports are never made about reports, nor
// about empty messages, and at most Config.MaxThreadProblems in a thread.
//
// # Order
//
// Messages of one thread that come by one session (such as a WebSocket) are
// handled one at a time, in the order in which they were opened; those of other
// threads, and of separate HTTP requests, at the same time. Answers to a waiting
// Request overtake those in line. On the way out, messages of one thread to one
// party leave in order, one at a time, unless they leave by a return route.
//
// # Clauses
//
// Of DIDComm v2.1: Message Headers (to, from, created_time, expires_time),
// Threading, ACKs (please_ack), Problem Reports and Cascading Problems, The
// Empty Message, Service Endpoint, Failover, Using a DID as an endpoint and the
// sender's side of Routing 2.0 (with agent/envelope); and the return-route
// extension.
package agent
