// Package pickup implements Message Pickup 3.0 (https://didcomm.org/messagepickup/3.0) and 4.0
// (https://didcomm.org/message-pickup/4.0): a mediator holds the mail of agents without an
// address, and these agents collect the mail.
//
// A mediator passes [Serve] to agent.NewMux. A client makes a [Collector] with [NewCollector],
// passes [Collector.Handle] to agent.NewMux, and calls [Collector.Run], or [Collector.Collect]
// to collect once. [RequestStatus], [Request] and [Received] are single requests.
//
// # The mediator
//
// Both versions and all spellings are served side by side. An answer has the spelling and the
// version of its request:
//
//	                        3.0                            4.0
//	limit                   limit                          message_count_limit
//	empty queue             status                         delivery with attachments []
//	messages-received       answered by status             no answer
//	times in status         seconds                        milliseconds
//	attachments             data.json of the bytes         data.base64, standard alphabet,
//	                        as they came; base64url if     padded
//	                        they are no JSON object
//	live mode over HTTP     report-problem 2.0             problem-report of this protocol,
//	                                                       both with [CodeLiveNotSupported]
//
// A limit that is missing or makes no sense is the largest one. Both names of the limit are
// read in both versions. A recipient_did may be given in any form of the DID, and the answer
// repeats the request. A live_delivery may be the text "true", as in the public test suite for
// mediators.
//
// A device sees its own box, whatever recipient_did it names. Each message is judged by the
// rights of its sender at that time, also on an open connection.
//
// Without a return_route or an open connection, a request is carried out and has no answer. A
// status says how the queue is now, and the endpoint of a device can be the queue itself.
//
// Delivered mail stays in the queue until messages-received names its id. A delivery-request
// gets mail again that was delivered before, unless the mail was pushed on the same connection.
// After five deliveries without an ack a message is a suspect, which is delivered after all
// others, and alone.
//
// # Live mode
//
// Live mode needs a connection that stays open, and ends with it. Mail is pushed in deliveries
// without thid, each with one attachment, and stays in the queue until its ack. Mail without an
// ack is pushed again after [ServeLimits].Lease, but a suspect is not pushed again on the same
// connection. No more than [ServeLimits].Window messages are pushed without an ack.
//
// Mail that waits when live mode begins is pushed too, in both versions. The specification
// wants it to be requested. The SDK of Identus never requests it, and a client that empties
// the queue before it goes live would not get what comes in between. A client that requests
// the mail on that connection gets nothing twice.
//
// The newest connection of a device is live. An older one gets the problem report
// [CodeLiveReplaced], and mail that was pushed there without an ack is pushed on the new one. A
// device that is blocked or removed gets a report, and nothing is pushed any more.
//
// # Raw pushes
//
// A client can ask for bare envelopes, by an extension of live-delivery-change:
//
//	{"live_delivery": true, "raw": true}
//
// Each message is then one frame with the bytes that the mediator has received. There is no
// attachment and no id, so a messages-received names the frame by the SHA-256 digest of its
// bytes, in base64url without padding. The mediator knows these names while the connection
// is live. The extension is for clients whose receive loop takes no messages from the mediator
// itself, such as the one of didcomm-messaging for Python.
//
// # The client
//
// A Collector goes live where the mediator has a WebSocket, and polls otherwise. Beneath live
// mode it asks for mail now and then, which also finds out whether the connection still works.
// It speaks the version that the mediator is known to speak, or tries 4.0 and then 3.0.
//
// The Collector acks mail that agent.Agent.ServeMail has taken, and mail that nobody can open,
// which is parked for a person to look at ([ListParked], [RetryParked], [DropParked]). Mail
// that cannot be taken now is not acked, and comes again. A mediator is trusted with the mail,
// and with nothing else: the number of attachments in a delivery, the length of ids and the
// parked mail have limits, and a delivery of anybody else is refused.
//
// A [MailID] is the mediator's name for mail. The id of the message in the mail is another one.
package pickup
