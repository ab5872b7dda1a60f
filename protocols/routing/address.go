package routing

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/did/lru"
)

// Endpoints has the URLs at which we receive forwards: the URLs for peers, and the addresses at
// which we listen, for example "http://[::]:8080". A next hop with such an endpoint is not used,
// since the forward would come back. A URL without a path stands for all paths of its host and
// port.
func Endpoints(urls ...string) Option {
	return func(s *server) {
		for _, u := range urls {
			if p, ok := placeOf(u); ok {
				s.own.places = append(s.own.places, p)
			}
		}
	}
}

// Lookup replaces the function that looks up the addresses of the names in endpoints. The default
// asks the DNS.
func Lookup(f func(ctx context.Context, host string) ([]netip.Addr, error)) Option {
	return func(s *server) { s.own.lookup = f }
}

const (
	lookupTime = 2 * time.Second // for the names of one endpoint
	ownFor     = time.Minute     // how long an answer of addresses.has is kept
	maxOwn     = 256             // answers that are kept
)

// addresses are the endpoints of this mediator.
type addresses struct {
	places []place
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu   sync.Mutex
	seen lru.Map[string, lookedUp] // by URI; guarded by mu
}

type lookedUp struct {
	own   bool
	until time.Time
}

// place is what an endpoint leads to.
type place struct{ host, port, path string }

func placeOf(uri string) (place, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		return place{}, false
	}
	p := place{strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port(), strings.TrimRight(u.Path, "/")}
	switch scheme := strings.ToLower(u.Scheme); {
	case p.port != "":
	case scheme == "https", scheme == "wss":
		p.port = "443"
	case scheme == "http", scheme == "ws":
		p.port = "80"
	}
	return p, true
}

// has reports whether an endpoint is one of ours.
func (a *addresses) has(ctx context.Context, uri string) bool {
	p, ok := placeOf(uri)
	if !ok {
		return false
	}
	now := time.Now()
	a.mu.Lock()
	known, ok := a.seen.Get(uri)
	a.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.own
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var theirs []netip.Addr // of p, once they are needed
	own := slices.ContainsFunc(a.places, func(o place) bool {
		if o.port != p.port || o.path != "" && o.path != p.path {
			return false
		}
		if o.host == p.host {
			return true
		}
		if theirs == nil {
			theirs = a.addrs(ctx, p.host)
		}
		return slices.ContainsFunc(a.addrs(ctx, o.host), func(addr netip.Addr) bool {
			return slices.ContainsFunc(theirs, func(t netip.Addr) bool { return t == addr || t.IsLoopback() && addr.IsLoopback() })
		})
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen.Put(uri, lookedUp{own, now.Add(ownFor)})
	if a.seen.Len() > maxOwn {
		a.seen.RemoveOldest()
	}
	return own
}

// addrs returns the addresses of a host, which are none if the host is not known. The
// unspecified address stands for all addresses of this machine.
func (a *addresses) addrs(ctx context.Context, host string) (list []netip.Addr) {
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		list = []netip.Addr{addr}
	case host == "localhost", strings.HasSuffix(host, ".localhost"):
		list = []netip.Addr{netip.IPv6Loopback()}
	default:
		list, _ = a.lookup(ctx, host)
	}
	var found []netip.Addr
	for _, addr := range list {
		addr = addr.Unmap().WithZone("")
		found = append(found, addr)
		if addr.IsUnspecified() {
			found = append(found, netip.IPv6Loopback())
			found = append(found, machine()...)
		}
	}
	return found
}

// machine returns the addresses of this machine.
func machine() (list []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, addr.Unmap().WithZone(""))
			}
		}
	}
	return list
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
