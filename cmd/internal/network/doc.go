// Package network is the way to other agents: which addresses DIDs and messages of
// others can make us connect to, and the resolvers and senders that keep to that.
// A Reach makes both.
package network
