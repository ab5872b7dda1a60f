//go:build interop

package interop_test

import (
	"context"
	"testing"
	"time"
)

// credoFleet is the chapter for users. The exchanges of credo-like prove most of
// the lines about Credo, and recordings of Credo the others.
const credoFleet = `Credo (npm @credo-ts/didcomm) with DIDComm v2 runs in vs-agent, in the Hologram wallets and in the 2060 mediator. The
exchanges of credo-like, under [Live agents](#live-agents), prove what this table says of commands and forwards. The rest is
from recordings of Credo, and from exchanges with Credo itself at 03d457e on 2026-12-01.

| | works | why, and what to do |
|---|---|---|
| didcomm ping, and its pings | yes | Credo has ` + "`trust_ping/1.0`" + ` only. The command tries that protocol after a report about its first ping, and says which one was answered |
| messages, both ways | yes | - |
| didcomm send --ack | no | Credo acknowledges nothing. Send without the flag, and ask for an answer in words. Once the home knows, the command fails without waiting, and ` + "`didcomm peer DID`" + ` says so |
| didcomm send to an invitation | yes | Credo answers from a new DID. Until a key of that DID has authenticated a message, its messages count as those of the invitation, and the contact does not move. On an open WebSocket, Credo may go on like that; both DIDs reach it. Strict mode refuses such messages |
| DID rotation by Credo | yes | the contact moves to the new DID |
| messages to a Credo that has not accepted our DID | no | by default, Credo takes a first message only from a DID whose invitation it has accepted. It answers with status 500 after 10 seconds, or with 200 and drops the message. Its setting autoCreateConnectionOnFirstMessage changes that |
| a second invitation of a Credo that knows our DID | no | Credo answers from the DID of the first connection by the key of the second invitation, and nothing proves that both are its own. Use the DID of the first connection, or another DID of ours with --from |
| didcomm ping to a Credo behind a mediator | no | the command has no endpoint for an answer that does not come back on its connection. Send a message |
| Credo ends the connection | yes | later sends to that DID fail with this reason, until it writes again |
| discover features | yes | Credo calls the answer ` + "`disclosures`" + `. Each side gets the answer under the name that it knows |
| didcomm send to a client of a Credo mediator | handed over | the mediator answers before it looks for its client, and gives no answer by WebSocket. The command says "unconfirmed". Ask for an answer in words |
| Credo behind our mediator | yes | ` + "`didcomm serve --mediator`" + `. Credo enrolls by coordinate-mediation 2.0, and picks up by message-pickup 4.0 |
| our agent behind a Credo mediator | yes | ` + "`didcomm serve --via`" + `, by the same protocols. What Credo has pushed into a connection that dies is lost, if the queue of Credo is that in memory |
| Credo sends to a DID of ours behind a mediator made with this library | yes | the DID of ` + "`didcomm serve --mediator`" + ` is right. Give a mediator of your own a DID of ` + "`didcomm did create --one-key`" + `. For any other, Credo wraps twice, and the second layer does not open |
| routing keys in a DID of ours | no | Credo ignores X25519 routing keys, and sends the bare message to the endpoint. List the DID of the mediator as the endpoint: ` + "`didcomm did create --service DID`" + ` |
| didcomm pack --protect-sender | no | Credo opens one layer of encryption and takes the inner envelope for the message. Pack without the flag. To tell those who carry the message less about the sender, use a DID for this peer alone |
| did:peer:4, long form | yes | - |
| did:peer:4, short form | no | Credo does not keep the documents of peers. Our agent sends the long form; with didcomm pack, give the long form to --from |
| keys on P-521 | no | Credo has X25519, P-256 and P-384. Make the DID without --curve |
| signed messages without encryption | no | Credo verifies them and then drops them. Encrypt |
| a message that Credo cannot open | status 500 | each time after 10 seconds. The agent gives such a message up after some tries; didcomm outbox shows the reason |
| problem reports | yes | Credo reports our reports. Our agent answers no report, so that the exchange ends |
| credentials, proofs | no | our agent does not have these protocols yet |
`

func (l *liveAgents) credoLike(t *testing.T) {
	a := l.agent(t, "credo-like", func(context.Context) error { return nil })
	a.hello.Versions = map[string]string{"package credolike, as npm @credo-ts/didcomm at": "03d457e"}
	results.chapter(chapter{title: "The Credo fleet", text: credoFleet})
	c := &credo{l.didcomm, serveProgram(t, l.didcomm)}
	storm := c.storm(t, time.Minute)
	for _, e := range c.exchanges() {
		a.talk(t, e.what, e.run)
	}
	a.talk(t, "a minute of its reports about our reports", storm)
}
