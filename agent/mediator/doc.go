// Package mediator is the state of a mediator, and the rules by which it changes: who is
// enrolled, which DIDs belong to whom, who may send, and how much mail waits for whom. It
// knows no message formats. The protocols are in protocols/mediation (enrolment and
// registration), protocols/routing (forwards), protocols/pickup, protocols/devices and
// protocols/senders.
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
//   - A fresh proof of the DID's own key beats a registration, and the newest proof beats
//     older ones. The mail that waits for the DID moves to the winner. The account that
//     loses the DID has to be told: see [Mediator.Tell].
//   - A DID whose document names another mediator is registered with such a proof only. A
//     DID that does not resolve is registered.
//   - DIDs of the mediator, names that are no DID, and names that are too long are refused.
//
// # Names
//
// A recipient has one name for all forms of its DID: see [Name].
//
// # Devices
//
// A device that joins an account gets the mail that comes from then on: see [Mediator.Join].
// A device that is replaced can hand its box on instead: see [Mediator.Rotate].
//
// # Limits
//
// [Mediator.Accept] counts mail by its sender, which is an authenticated DID, a capability of
// the recipient, or else the address. A DID costs nothing, so only a few DIDs of one address
// count for themselves at one recipient. An address is kept as a hash with a random key, which
// changes every day and is in memory alone. Mail that counts for an address has the hash until
// the mail is collected or expires. [Limits] has the quotas of boxes, senders, and pairs of
// both, and the rates. A quota refuses new mail, and never drops mail that was accepted. A
// refusal by a limit is a *[LimitError].
//
// # Several processes
//
// All state is in the store, and each change of it is one Commit with the versions of what was
// read. So several processes may share the store, such as a server and a command line. A
// change by one process holds in another at once for boxes and registrations, and within a
// quarter of a second for forwards, and for a [Box.OnChange] where Run runs. Mail that is
// accepted for the loser of a DID meanwhile moves, too. If the clocks of the processes differ by
// more than three seconds, a change may hold for forwards after half a minute only.
//
// Two things take up to a second longer. A mediator that does not know the end of an account
// may accept mail for its boxes; that mail is never delivered. [Mediator.Leave] asks to wait if
// all devices that would be left have joined just now.
package mediator
