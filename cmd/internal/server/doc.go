// Package server is an agent that listens: Listen wires the home, the keys, the
// transports and the protocols of one, and Run serves until its context ends.
package server
