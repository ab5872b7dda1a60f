// Package mediator is the state of a mediator, and the rules by which it changes: who is
// enrolled, which DIDs belong to whom, who may send, and how much mail waits for whom. It
// knows no message formats. The protocols are in protocols/mediation (enrolment and
// registration), protocols/routing (forwards) and protocols/pickup.
//
// Make a [Mediator] with [New], give it to the Serve functions of these packages, and let
// [Mediator.Run] run:
//
//	m, err := mediator.New(mediator.Config{DID: id.DID(), Store: st, Mailbox: st.Mailbox()})
//	mux := agent.NewMux(mediation.Serve(m), routing.Serve(m), pickup.Serve(m))
//
// # Accounts, devices and recipients
//
// An account has one owner and a few devices. A device is an enrolled DID, with a box of
// its own: each device collects all mail of the account for itself. A recipient is a DID
// that an account has registered, so that mail for the DID goes to the account. The DID of
// a device is a recipient of its account without registration.
//
// # Who owns a recipient
//
// A DID is public, so anybody could register the DID of somebody else. These rules hold:
//
//   - The DID of a device belongs to its account. No other account can register the DID,
//     and an older registration by another account ends.
//   - The first account that registers a DID has the DID alone. Nothing replaces a
//     registration silently.
//   - A proof of the DID's own key beats a registration without such a proof. The account
//     that loses the DID is told.
//   - A DID whose document names another mediator is registered with such a proof only.
//   - DIDs of the mediator, names that are no DID, and names that are too long are refused.
//
// # Names
//
// A recipient has one name for all forms of its DID: see [Name].
package mediator
