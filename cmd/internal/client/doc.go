// Package client talks to other agents without listening: Start makes an agent for
// pings and the like, Post sends one message as the agent of a home, and Once sends
// one as an agent that needs no home. A problem that the other side reports with the
// message is an error.
package client
