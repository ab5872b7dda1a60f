package netguard

import "net/netip"

// block is a range of addresses, and the reason to refuse it.
type block struct {
	prefix netip.Prefix
	why    string
}

func blocks(pairs ...string) []block {
	out := make([]block, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, block{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return out
}

// metadata is the reason for addresses that only a Guard.Allow of one address allows.
const metadata = "a cloud metadata service"

// These tables are never changed. If two blocks overlap, the one with the more precise
// reason comes first.
var (
	// IANA IPv4 Special-Purpose Address Registry, and the metadata services of clouds.
	specialV4 = blocks(
		"169.254.169.254/32", metadata,
		"168.63.129.16/32", metadata,
		"100.100.100.200/32", metadata,
		"192.0.0.192/32", metadata,
		"0.0.0.0/8", "unspecified",
		"10.0.0.0/8", "private",
		"100.64.0.0/10", "shared address space",
		"127.0.0.0/8", "loopback",
		"169.254.0.0/16", "link-local",
		"172.16.0.0/12", "private",
		"192.0.0.0/24", "reserved for protocols",
		"192.0.2.0/24", "documentation",
		"192.88.99.0/24", "a 6to4 relay",
		"192.168.0.0/16", "private",
		"198.18.0.0/15", "benchmarking",
		"198.51.100.0/24", "documentation",
		"203.0.113.0/24", "documentation",
		"224.0.0.0/4", "multicast",
		"240.0.0.0/4", "reserved",
	)

	// IANA IPv6 Special-Purpose Address Registry. Addresses outside 2000::/3 are refused
	// even if they are not listed. Those in this table have a more precise reason.
	specialV6 = blocks(
		"fd00:ec2::254/128", metadata,
		"fd20:ce::254/128", metadata,
		"::1/128", "loopback",
		"::/128", "unspecified",
		"::/96", "ipv4-compatible",
		"::ffff:0:0:0/96", "ipv4-translated",
		"64:ff9b:1::/48", "local-use nat64",
		"100::/64", "discard-only",
		"2001::/32", "teredo",
		"2001::/23", "reserved for protocols",
		"2001:db8::/32", "documentation",
		"2002::/16", "6to4",
		"3fff::/20", "documentation",
		"fc00::/7", "unique-local",
		"fe80::/10", "link-local",
		"fec0::/10", "site-local",
		"ff00::/8", "multicast",
	)

	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
)

// special returns the reason why an unmapped address is not public, or "" if it is
// public.
func special(a netip.Addr) string {
	table := specialV6
	switch {
	case !a.IsValid():
		return "not an address"
	case a.Is4():
		table = specialV4
	case nat64.Contains(a):
		// A host on an IPv6-only network uses such addresses to reach public IPv4
		// addresses (RFC 6052), so the embedded IPv4 address decides.
		b := a.As16()
		if why := special(netip.AddrFrom4([4]byte(b[12:]))); why != "" {
			return "nat64 for an address that is " + why
		}
		return ""
	}
	for _, b := range table {
		if b.prefix.Contains(a) {
			return b.why
		}
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		return "not global unicast"
	}
	return ""
}
