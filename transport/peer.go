package transport

import (
	"context"
	"net/netip"
)

type peerKey struct{}

// WithPeer returns a context for [Handler.ServePacket] that carries the address of the client
// that has sent the packet. A server calls WithPeer if it knows better than the transport,
// for example because clients come through a proxy.
func WithPeer(ctx context.Context, addr netip.Addr) context.Context {
	return context.WithValue(ctx, peerKey{}, addr)
}

// PeerOf returns the address in the context of [Handler.ServePacket]. It returns the zero
// Addr if the address is not known. Anybody can have sent the packet from there: the address
// is for limits, and proves nothing.
func PeerOf(ctx context.Context) netip.Addr {
	addr, _ := ctx.Value(peerKey{}).(netip.Addr)
	return addr
}

// AddrOf returns the address in "HOST:PORT", such as the RemoteAddr of an http.Request. It
// returns the zero Addr for other text, such as the name of a Unix socket.
func AddrOf(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}
