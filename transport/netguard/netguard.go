// Package netguard keeps an agent from being used to reach what stands behind
// it: every address that a DID, a DID document or a message makes us fetch is
// dialled through a Guard, which refuses the addresses of the machine, of its
// own networks and of the cloud's metadata service (server-side request
// forgery).
//
// Hand Guard.DialContext to whatever opens connections:
//
//	guard := &netguard.Guard{}
//	client := &http.Client{Transport: &http.Transport{DialContext: guard.DialContext}}
//
// The check stands between name resolution and connect, on the very address
// that is dialled, so a name that resolves to something harmless first and to
// 127.0.0.1 later gains nothing. A proxy would move the dial out of the guard's
// sight: leave http.Transport.Proxy nil.
//
// What is refused follows the IANA special-purpose address registries (RFC
// 6890 and its updates): for IPv4 a list, for IPv6 everything outside 2000::/3
// and the special blocks inside it. See Guard for the exceptions.
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

// ErrRefused is an address that the guard does not let through. It is matched
// by errors.Is through the *net.OpError and *url.Error that wrap it, and no
// retry changes it. It has a method AddressRefused() bool, which is true, for
// packages that do not import this one.
var ErrRefused error = refused{}

type refused struct{}

func (refused) Error() string        { return "address refused" }
func (refused) AddressRefused() bool { return true }

// DefaultTimeout bounds one dial where Guard.Timeout is zero.
const DefaultTimeout = 10 * time.Second

// Guard dials addresses that somebody else chose. The zero value refuses every
// address that is not public. A Guard must not be changed once in use; it may
// be used from several goroutines.
type Guard struct {
	// AllowLoopback lets 127.0.0.0/8 and ::1 through, and ::ffff:127.0.0.0/104,
	// which the kernel dials as 127.0.0.0/8. Every other way to reach loopback
	// stays refused: 0.0.0.0 and ::, the IPv4-compatible ::127.0.0.1, NAT64,
	// 6to4 and Teredo forms. Those have no honest use here.
	AllowLoopback bool
	// Allow lets further addresses through, such as the private network that
	// an operator's agents share. It is matched against the address as dialled
	// (::ffff:a.b.c.d as the IPv4 address a.b.c.d), before everything else, and
	// does not extend to other forms of an address in it, nor to the metadata
	// services of clouds, some of which have addresses in private networks: those
	// need a prefix of their one address.
	Allow []netip.Prefix
	// Timeout bounds one DialContext with its name resolution; 0 is
	// DefaultTimeout. An earlier deadline of the context holds.
	Timeout time.Duration
	// Resolver looks names up; nil is net.DefaultResolver.
	Resolver *net.Resolver
}

// DialContext connects to addr ("host:port") on network "tcp", "tcp4" or
// "tcp6". Where a name has several addresses, the refused ones among them are
// passed over. The error matches ErrRefused if the first address tried was
// refused and no other answered, or if network is another one.
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

// control runs after the socket is made and before it connects; address is
// what connect gets.
func (g *Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrRefused, address)
	}
	return g.Check(ap.Addr())
}

// Check tells whether the guard lets an address through: nil, or an error that
// matches ErrRefused and says what kind of address it is. DialContext does
// this by itself; Check is for configuration that names addresses.
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
