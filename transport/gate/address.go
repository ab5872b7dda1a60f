package gate

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/didcomm-go/didcomm/transport"
)

func (g *Gate) trusted(addr netip.Addr) bool {
	for _, p := range g.cfg.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// client returns the address of the client of a request: the peer, or the last address that
// is not of a trusted proxy. If the headers of a trusted proxy name no address, or two
// different ones, it returns the address of the proxy: a client can send such headers, but
// cannot count as another client with them.
func (g *Gate) client(r *http.Request) netip.Addr {
	peer := transport.AddrOf(r.RemoteAddr)
	if !g.trusted(peer) {
		g.warnOfProxy(peer, r.Header)
		return peer
	}
	forwarded, some := g.lastHop(elements(r.Header["Forwarded"], forParameter))
	x, someX := g.lastHop(elements(r.Header["X-Forwarded-For"], strings.TrimSpace))
	switch {
	case some && someX && forwarded != x:
	case someX && x.IsValid():
		return x
	case some && forwarded.IsValid():
		return forwarded
	}
	return peer
}

// lastHop returns the last of the hops that is not of a trusted proxy, and whether there are
// hops. The address is the zero Addr if the hop is no address.
func (g *Gate) lastHop(hops []string) (addr netip.Addr, some bool) {
	for i := len(hops) - 1; i >= 0; i-- {
		addr = parseHop(hops[i])
		if !addr.IsValid() || !g.trusted(addr) {
			break
		}
	}
	return addr, len(hops) > 0
}

// maxHops is how many hops of a header are read, from the last.
const maxHops = 16

// elements returns the last elements of the lists in the values of a header.
func elements(values []string, form func(string) string) []string {
	var hops []string
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; len(hops) < maxHops; {
			at := strings.LastIndexByte(rest, ',')
			hops = append([]string{form(rest[at+1:])}, hops...)
			if at < 0 {
				break
			}
			rest = rest[:at]
		}
	}
	return hops
}

// forParameter returns the value of the parameter "for" of an element of Forwarded (RFC 7239,
// section 4).
func forParameter(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseHop parses an address that may have a port, and brackets around an IPv6 address. It
// returns the zero Addr for other text, such as "unknown".
func parseHop(s string) netip.Addr {
	if addr := transport.AddrOf(s); addr.IsValid() {
		return addr
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// warnOfProxy warns once if a peer in a private network sends the headers of a proxy.
func (g *Gate) warnOfProxy(peer netip.Addr, h http.Header) {
	if !peer.IsLoopback() && !peer.IsPrivate() {
		return
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"} {
		if len(h[name]) == 0 {
			continue
		}
		g.mu.Lock()
		warned := g.warned
		g.warned = true
		g.mu.Unlock()
		if !warned {
			g.cfg.Logger.Warn("requests seem to come through a proxy that is not trusted; all its clients share the limits of one address", "proxy", peer, "header", name)
		}
		return
	}
}
