// Package home is what an agent has on its machine: a directory, and a store with
// the outbox, the inbox, the DIDs and the sealed private keys. The store is a database in
// the directory or, shared, on a server.
//
// Open opens the home of an agent, and makes what is missing; OpenToServe does so
// for the process that serves the home; OpenOutbox, OpenInbox, OpenDIDs and
// OpenMediator are for commands beside that. Backup and Restore save the store of a home, and
// get it back. A home remembers which agent it has, so that it does not become another one if
// the store is lost.
//
// The DIDs of a home are in an identity.Set. The DID of the agent itself, and those that it
// had before, have the agent's own keys (Home.Serve). Every other DID has keys of its own
// (Home.Keep). A mediator has another pair of keys (Home.ServeMediator). An agent behind a
// mediator is enrolled there with a DID that only the mediator learns (Home.Mediation).
package home
