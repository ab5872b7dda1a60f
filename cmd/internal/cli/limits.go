package cli

import (
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/transport/gate"
	"github.com/spf13/cobra"
)

// addLimitFlags adds the flags for the limits of connections and requests.
func addLimitFlags(cmd *cobra.Command, l *server.Limits) {
	f := cmd.Flags()
	f.IntVar(&l.MaxConns, "max-connections", gate.DefaultMaxConns, "open connections, at most what the limit of open files permits; 0 is as many as that permits")
	f.IntVar(&l.ConnsPerAddress, "connections-per-address", gate.DefaultConnsPerAddress, "open connections of one address, and its requests at the same time; 0 is no limit")
	f.IntVar(&l.ConnectsPerMinute, "connects-per-minute", gate.DefaultConnectsPerMinute, "new connections of one address at once, and then per minute; 0 is no limit")
	f.IntVar(&l.RequestsPerMinute, "requests-per-minute", gate.DefaultRequestsPerMinute, "requests of one address at once, and then per minute; 0 is no limit")
	f.IntVar(&l.FailuresPerMinute, "failures-per-minute", gate.DefaultFailuresPerMinute, "requests of one address with a status from 400 to 499, at once and then per minute, before all its requests are refused; 0 is no limit")
	f.StringSliceVar(&l.TrustedProxies, "trusted-proxy", nil, "address or CIDR of a proxy in front, whose X-Forwarded-For or Forwarded names the client; can be repeated")
}
