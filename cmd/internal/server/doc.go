// Package server runs the agent of a home. [Listen] opens the port, and connects the home,
// the keys, the transports and the protocols. [Server.Run] serves until its context ends. The
// agent may be a mediator, or one without a port that collects its messages from a mediator.
// [Collect] does so once.
package server
