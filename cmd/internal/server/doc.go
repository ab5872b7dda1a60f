// Package server runs the agent of a home. [Listen] opens the port, and connects the home,
// the keys, the transports and the protocols. [Server.Run] serves until its context ends.
package server
