// Package server wires the library into the agents that the command line runs:
// Listen makes one that serves, Start one that only talks. It is the one place
// where the address guard, resolvers, keys, transports, protocols and the agent
// meet.
//
// It also knows the agent's home directory: the files of private keys in it, and
// the DIDs that are made of them.
package server
