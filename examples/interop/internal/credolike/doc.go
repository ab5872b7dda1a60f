// Package credolike is an agent that behaves on the wire as Credo does with DIDComm v2, for
// tests. Credo is the framework of vs-agent, of the Hologram wallets and of the 2060
// mediator. The behaviour of the agent is from the source of Credo and from recordings
// of Credo; the code is neither. Package craft makes and opens the envelopes, so that the agent
// shares no cryptography with the library that it tests.
//
// [Start] starts an agent with an HTTP and WebSocket server on loopback. Its
// [Agent.Invitation] is a DID that anybody may write to. In particular, the agent
//
//   - answers 415 to all media types but two, which it compares exactly;
//
//   - answers 200 before it handles a message without return_route, and 500 after a delay
//     to what it cannot open, each time again; over WebSocket it says nothing;
//
//   - reports each message of a type that it does not know, by notification/1.0 with a
//     pthid alone, also when that message is a problem report of another protocol;
//
//   - knows trust_ping/1.0 and the disclosures of discover-features/2.0;
//
//   - never acknowledges;
//
//   - answers a new peer from a DID of its own for that peer. On the connection of the
//     first message, the skid of the answers is of the former DID;
//
//   - names itself in from_prior by a kid that is relative to iss;
//
//   - writes did:key kids into forwards, one for each key of the mediator that is not the
//     image of another;
//
//   - as a mediator, has no record of its routing DID and knows its key only as a did:key.
//
//   - enrolls by coordinate-mediation/2.0 and picks up by message-pickup/4.0, on both sides. As
//     a mediator, it pushes over any session and gives what was taken to nobody again.
//
// Of Credo's protocols it has those that the tests need: no credentials.
package credolike
