// Package client talks to other agents without a listening port. [Start] makes an agent, for
// example for pings. [Post] sends a message as the agent of a home. [Once] sends a message
// without a home. If the other agent reports a problem with the message, the functions return
// an error.
package client
