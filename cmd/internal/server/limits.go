package server

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/didcomm-go/didcomm/transport/gate"
)

// Limits bounds the connections and requests of one address, as gate.Config describes. 0 is no
// limit.
type Limits struct {
	MaxConns, ConnsPerAddress                               int
	ConnectsPerMinute, RequestsPerMinute, FailuresPerMinute int
	TrustedProxies                                          []string // addresses and CIDRs
}

func (l Limits) check() error {
	for _, limit := range []struct {
		flag  string
		value int
	}{
		{"--max-connections", l.MaxConns},
		{"--connections-per-address", l.ConnsPerAddress},
		{"--connects-per-minute", l.ConnectsPerMinute},
		{"--requests-per-minute", l.RequestsPerMinute},
		{"--failures-per-minute", l.FailuresPerMinute},
	} {
		if limit.value < 0 {
			return fmt.Errorf("%s %d: want 0 or more", limit.flag, limit.value)
		}
	}
	_, err := l.proxies()
	return err
}

func (l Limits) proxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, s := range l.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if addr, ok := netip.ParseAddr(s); ok == nil {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || p.Addr().Zone() != "" || p.Addr().Is4In6() {
			return nil, fmt.Errorf("--trusted-proxy %q: want an address or a CIDR such as 10.0.0.0/8", s)
		}
		list = append(list, p)
	}
	return list, nil
}

// peerConns returns how many connections to peers of a kind may stay open, so that strangers do
// not make the agent use up its descriptors with the endpoints in their DIDs. 0 is the default.
func peerConns() int { return gate.Kept() / 6 }

// gate returns the Gate with these limits.
func (l Limits) gate(logger *slog.Logger) (*gate.Gate, error) {
	proxies, err := l.proxies()
	if err != nil {
		return nil, err
	}
	return gate.New(gate.Config{
		MaxConns:          noneIfZero(l.MaxConns),
		ConnsPerAddress:   noneIfZero(l.ConnsPerAddress),
		ConnectsPerMinute: noneIfZero(l.ConnectsPerMinute),
		RequestsPerMinute: noneIfZero(l.RequestsPerMinute),
		FailuresPerMinute: noneIfZero(l.FailuresPerMinute),
		TrustedProxies:    proxies,
		Probes:            probes,
		Logger:            logger,
	}), nil
}

// noneIfZero returns n, or -1 for 0: the packages take 0 for the default, and less for no limit.
func noneIfZero(n int) int {
	if n == 0 {
		return -1
	}
	return n
}
