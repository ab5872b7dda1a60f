// Package mediation implements Coordinate Mediation 2.0 and 3.0, of both roles: an agent
// without an address asks a mediator to take its mail, and tells the mediator for which DIDs.
//
// # Client
//
// Call [Enroll] once, and make DIDs whose service is the mediator:
//
//	grant, err := mediation.Enroll(ctx, a, mediator)
//	id, err := identity.Peer2(pair, grant.RoutingDID())
//
// Then run a [Client], which registers the DIDs of an identity.Set with the mediator as they
// are made, and removes them as they end. Call [Client.Register] before a new DID is given
// out: the mediator accepts nothing for a DID that is not registered.
//
// # Mediator
//
// Pass [Serve] to [agent.NewMux]. Both versions have one state, a mediator.Mediator. Requests are
// answered in the version and in the spelling of the request; both "coordinate-mediation" and
// "mediator-coordination" are known.
//
//   - A mediate-request is granted as mediator.Admission says. Its pthid is the token, for example
//     the id of an invitation of the mediator.
//   - Each entry of an update is carried out by itself. The result of an entry that cannot be
//     read, or that may not be carried out, is client_error. That of an entry that may be carried
//     out later is server_error. An update has at most [MaxUpdates] entries.
//   - A query returns at most [MaxPage] DIDs. The member pagination is absent if these are all.
//   - A keylist-update (2.0) without return_route is not answered if its sender can be reached
//     only on its connection: the SDK of Identus expects an empty response then. All other
//     requests of such a sender are answered on the connection.
//
// Problem reports have these codes:
//
//   - e.p.req.not_enroll: the sender is not enrolled. The code breaks the grammar of codes, but
//     the mediators of Identus use it.
//   - e.p.req.blocked: the operator has blocked the account.
//   - e.p.me.res and the name of a limit, for example e.p.me.res.updates.
//   - e.p.msg: the body cannot be read.
//   - w.p.req.recipient-lost, in a report that answers nothing: another account has proven that a
//     DID of the receiver's account belongs to it. The first argument is the DID.
//
// # Proof
//
// Anybody can ask a mediator for the mail of any DID, since DIDs are public. Without proof, a
// DID belongs to the account that was first, and is refused if its document names another
// mediator. With proof, the DID and the mail that waits for it leave the other account, which is
// told. The newest proof wins. The DID of a client cannot be taken, since the client has proven it
// by each request. These are proofs:
//
//   - The update is sent by the recipient_did itself, or by the DID to which the recipient_did
//     has rotated in the last 24 hours: from_prior shows that.
//   - The update has an attachment of media type application/didcomm-signed+json with a message
//     that the recipient_did has signed: see [Prove]. Its type is [TypeProof], from is the
//     recipient_did, to is the DID of the mediator, expires_time is at most 20 minutes away, and
//     the body is {"account": DID}, the DID that sends the update.
//
// An update has at most [MaxProofs] such attachments.
//
// A client that rotates its own DID keeps its account and its mail: the first message from the new
// DID has the from_prior. See [Replaces].
package mediation

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/protocols/internal/claim"
)

// The URIs of the protocol.
const (
	PIURI2 = "https://didcomm.org/coordinate-mediation/2.0"
	PIURI3 = "https://didcomm.org/coordinate-mediation/3.0"
)

// Other spellings of the URIs, which some agents use.
const (
	PIURI2Alias = "https://didcomm.org/mediator-coordination/2.0"
	PIURI3Alias = "https://didcomm.org/mediator-coordination/3.0"
)

// CodeRecipientLost is the code of the problem report that tells a client that its account has lost
// a DID to an account that has proven the DID.
const CodeRecipientLost = claim.CodeLost

// Names of the messages of both versions.
const (
	nameRequest = "mediate-request"
	nameGrant   = "mediate-grant"
	nameDeny    = "mediate-deny"
)

// version has the names by which a version of the protocol differs from the other.
type version struct {
	piuri, alias                 string
	update, updated, query, list string
}

var (
	v2 = version{PIURI2, PIURI2Alias, "keylist-update", "keylist-update-response", "keylist-query", "keylist"}
	v3 = version{PIURI3, PIURI3Alias, "recipient-update", "recipient-update-response", "recipient-query", "recipient"}
)

// Action says what to do with a DID in an update.
type Action string

// The actions.
const (
	Add    Action = "add"
	Remove Action = "remove"
)

// Outcome is the result of an entry of an update.
type Outcome string

// The outcomes. NoChange means that the DID was registered already, or was not registered.
const (
	Success     Outcome = "success"
	NoChange    Outcome = "no_change"
	ClientError Outcome = "client_error"
	ServerError Outcome = "server_error"
)

// Change is an entry of an update.
type Change struct {
	RecipientDID string `json:"recipient_did"`
	Action       Action `json:"action"`
}

// Result is the result of a Change.
type Result struct {
	RecipientDID string  `json:"recipient_did"`
	Action       Action  `json:"action"`
	Result       Outcome `json:"result"`
}

// Limits of an update and of a query.
const (
	MaxUpdates = 500  // entries of one update
	MaxProofs  = 16   // attachments of one update that are proofs
	MaxPage    = 1000 // DIDs in the answer to one query
)

type (
	updateBody struct {
		Updates []jsontext.Value `json:"updates"`
	}
	changesBody struct {
		Updates []Change `json:"updates"`
	}
	updatedBody struct {
		Updated []Result `json:"updated"`
	}
	queryBody struct {
		Paginate *paginate `json:"paginate,omitzero"`
	}
	paginate struct {
		Limit  int `json:"limit"`
		Offset int `json:"offset"`
	}
	pagination struct {
		Count     int `json:"count"`
		Offset    int `json:"offset"`
		Remaining int `json:"remaining"`
	}
	recipientDID struct {
		RecipientDID string `json:"recipient_did"`
	}
	// listBody has Keys in version 2.0, and DIDs in version 3.0.
	listBody struct {
		Keys       []recipientDID `json:"keys,omitzero"`
		DIDs       []recipientDID `json:"dids,omitzero"`
		Pagination *pagination    `json:"pagination,omitzero"`
	}
	grantBody struct {
		RoutingDID any `json:"routing_did"` // a string in version 2.0, a list in version 3.0
	}
)
