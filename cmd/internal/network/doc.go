// Package network makes the resolvers and senders with which a command reaches other
// agents. A [Reach] says to which addresses they may connect; call [Reach.Resolver] and
// [Reach.Senders].
package network
