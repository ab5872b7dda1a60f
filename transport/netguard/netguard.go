// Package netguard protects against server-side request forgery (SSRF). DIDs, DID
// documents and messages of strangers contain URLs that an agent connects to. A [Guard]
// refuses connections to addresses that strangers must not reach through the agent: the
// machine itself, its internal networks, and the metadata services of clouds.
//
// Package agent/network makes the resolvers and clients of an agent with a Guard. Without that
// package, pass [Guard.DialContext] to everything that opens connections:
//
//	guard := &netguard.Guard{} // on one machine: &netguard.Guard{AllowLoopback: true}
//	client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: guard.DialContext})
//	web, err := didweb.NewResolver(didweb.Config{Dial: guard.DialContext})
//	other := &http.Client{Transport: &http.Transport{DialContext: guard.DialContext}}
//
// The Guard checks an address after name resolution and right before the connection is
// made. So it also refuses a name that first resolves to a public address and later to
// 127.0.0.1 (DNS rebinding). It cannot check addresses that a proxy connects to, so leave
// http.Transport.Proxy nil.
//
// The refused addresses are those of the IANA special-purpose address registries (RFC
// 6890 and its updates): a list of blocks for IPv4, and for IPv6 everything outside
// 2000::/3 and the special blocks inside it. The fields of Guard allow exceptions.
package netguard

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrRefused means that a Guard refuses an address. Match it with errors.Is, also when
// it is wrapped in a *net.OpError or *url.Error. Trying again does not help. For packages
// that do not import netguard, it has a method AddressRefused() bool, which returns true.
var ErrRefused error = refused{}

type refused struct{}

func (refused) Error() string        { return "address refused" }
func (refused) AddressRefused() bool { return true }

// DefaultTimeout is the default of Guard.Timeout.
const DefaultTimeout = 10 * time.Second

// Guard connects to addresses that strangers have chosen. The zero value refuses every
// address that is not public. Do not change a Guard after the first use. It may be used
// from several goroutines.
type Guard struct {
	// AllowLoopback allows 127.0.0.0/8, ::1, and ::ffff:127.0.0.0/104, which the kernel
	// treats as 127.0.0.0/8. Other addresses that may lead to loopback are still refused,
	// because they have no legitimate use here: 0.0.0.0, ::, the IPv4-compatible
	// ::127.0.0.1, and the NAT64, 6to4 and Teredo forms.
	AllowLoopback bool
	// Allow lists further addresses that are allowed, for example a private network with
	// other agents of the same operator. The Guard compares the address of the connection;
	// it treats ::ffff:a.b.c.d as the IPv4 address a.b.c.d. Two kinds of addresses
	// stay refused although a prefix contains them:
	//   - other forms of an IPv4 address, such as NAT64;
	//   - the metadata services of clouds, unless the prefix is that one address, such as
	//     169.254.169.254/32.
	Allow []netip.Prefix
	// Timeout limits one call of DialContext, including name resolution. An earlier
	// deadline of the context also applies. 0 means DefaultTimeout.
	Timeout time.Duration
	// Resolver resolves names. nil means net.DefaultResolver.
	Resolver *net.Resolver
}

// DialContext connects to addr, which has the form "host:port". The network is "tcp",
// "tcp4" or "tcp6". If a name has several addresses, those that are refused are skipped.
// The error matches [ErrRefused] if no connection was made and the first address is
// refused, or if the network is another one.
func (g *Guard) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("dial %s: %w: network %q", addr, ErrRefused, network)
	}
	d := net.Dialer{
		Timeout:        cmp.Or(max(g.Timeout, 0), DefaultTimeout),
		Resolver:       g.Resolver,
		ControlContext: g.control,
	}
	return d.DialContext(ctx, network, addr)
}

// control runs after the socket is made and before it is connected to address.
func (g *Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrRefused, address)
	}
	return g.Check(ap.Addr())
}

// Check returns nil if the Guard allows an address. Otherwise the error matches
// [ErrRefused] and names the kind of address. DialContext calls Check itself. Call it
// directly to check addresses in a configuration.
func (g *Guard) Check(addr netip.Addr) error {
	a := addr.Unmap().WithZone("")
	why := special(a)
	for _, p := range g.Allow {
		if p.Contains(a) && (p.IsSingleIP() || !strings.HasSuffix(why, metadata)) {
			return nil
		}
	}
	if g.AllowLoopback && a.IsLoopback() {
		return nil
	}
	if why != "" {
		return fmt.Errorf("%w: %s is %s", ErrRefused, addr, why)
	}
	return nil
}
