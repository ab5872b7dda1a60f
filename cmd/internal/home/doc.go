// Package home is what an agent has on its machine: a directory, and a store with
// the outbox, the inbox and the sealed private keys. The store is a database in the
// directory or, shared, on a server.
//
// Open opens the home of an agent, and makes what is missing; OpenToServe does so
// for the process that serves the home; OpenOutbox and OpenInbox are for commands
// beside that. An Identity is a DID with its keys, made by the methods of Keys; its
// method Agent makes an agent that goes by the DID.
package home
