// Package message is the plaintext message of DIDComm Messaging v2.1: the headers,
// attachments, message type URIs and problem reports. The package knows nothing about keys,
// envelopes and transports.
//
//   - [New] makes a message, and [Message.Reply] makes an answer to a message.
//   - [Parse] reads a message that a peer sent.
//   - [Message.Append] and json.Marshal write a message.
//   - [Message.DecodeBody] reads the body into a Go value.
//
// For example:
//
//	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", body)
//	m.To = []string{"did:example:bob"}
//	data, err := m.Append(nil)
//
// # Strict writing, tolerant reading
//
// Append writes only what the specification permits. Parse also reads some forms that break
// the specification: those that peers are known to send and whose meaning is beyond doubt.
// Parse reports each of them as a [Deviation]. For any other malformed input Parse returns an
// error that matches [ErrInvalid], and no message. Members that the specification does not
// name are kept, and are written back byte for byte.
//
// Errors of this package do not quote the content of a message. They can be logged where the
// content must not be.
//
// # Clauses
//
// The package implements these sections of DIDComm Messaging v2.1: Plaintext Message
// Structure; Message Headers; Attachments; Threading (id, thid, pthid); ACKs (please_ack,
// ack); i18n (lang, accept-lang); Problem Reports (codes, interpolation); Protocol Identifier
// URI and Message Type URI. It also implements the return_route extension.
package message
