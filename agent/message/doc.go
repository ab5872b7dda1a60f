// Package message is the DIDComm Messaging v2.1 plaintext message: the JWM model
// with all its headers, attachments, message type URIs and problem codes. It
// knows nothing of keys, envelopes or transports.
//
// Call [New] to make a message, [Parse] to read one that a peer sent, and
// [Message.Append] or json.Marshal to write it:
//
//	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", body)
//	m.To = []string{"did:example:bob"}
//	data, err := m.Append(nil)
//
// Implemented clauses of DIDComm Messaging v2.1: Plaintext Message Structure,
// Message Headers, Attachments, Threading (id, thid, pthid), ACKs (please_ack,
// ack), i18n (lang, accept-lang), Problem Reports (codes, interpolation),
// Protocol Identifier URI and Message Type URI, and the return_route extension.
//
// Writing is strict, reading is tolerant: what peers are known to send outside
// the specification is read where its meaning is beyond doubt, and each such
// thing is reported as a [Deviation]. Everything else that is malformed is an
// error that matches [ErrInvalid], with no message beside it. Members that the
// specification does not name are kept and written back byte for byte.
//
// No error text of this package quotes a value of the message: errors may be
// logged, plaintext may not.
package message
