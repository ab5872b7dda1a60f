package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// routes returns the routes to a DID for which the Agent has a Sender, in the order of
// the DID document. The Packer leaves out endpoints that do not accept DIDComm v2. For a
// stranger, routes with more than strangerHops routing keys are left out too. The error
// matches ErrNoRoute if there is no route.
func (a *Agent) routes(ctx context.Context, to string, class store.Class) ([]envelope.Route, error) {
	all, err := a.cfg.Packer.Routes(forClass(ctx, class), to)
	if errors.Is(err, envelope.ErrService) {
		return nil, fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
	}
	if err != nil {
		return nil, fmt.Errorf("routes to %s: %w", to, err)
	}
	var routes []envelope.Route
	for _, r := range all {
		if a.delivery.Sender(r.URI) != nil && (class != store.ClassStranger || len(r.RoutingKeys) <= strangerHops) {
			routes = append(routes, r)
		}
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("%w to %s: %s", ErrNoRoute, to, noRouteReason(all))
	}
	return routes, nil
}

// forClass returns a context in which the Resolver limits what it fetches for strangers.
func forClass(ctx context.Context, class store.Class) context.Context {
	if class == store.ClassStranger {
		return did.ForStranger(ctx)
	}
	return ctx
}

// endpoints returns the endpoints of the routes that are tried.
func endpoints(routes []envelope.Route, class store.Class) []store.Endpoint {
	n := delivery.MaxEndpoints
	if class == store.ClassStranger {
		n = delivery.MaxStrangerEndpoints
	}
	var list []store.Endpoint
	for _, r := range routes[:min(len(routes), n)] {
		list = append(list, store.Endpoint{URI: r.URI, RoutingKeys: r.RoutingKeys})
	}
	return list
}

// noRouteReason returns why none of the routes can be used.
func noRouteReason(all []envelope.Route) string {
	if len(all) == 0 {
		return "its document has no DIDComm endpoint"
	}
	uris := make([]string, len(all))
	for i, r := range all {
		uris[i] = r.URI
	}
	return "none of its endpoints can be used: " + strings.Join(uris, ", ")
}

// wrap returns the packet of an item for a mediator: the packet of the item in a forward for
// each of the routing keys. A DID of a mediator may be unreachable for some time, so wrap is
// tried again then. After any other error the endpoint is given up.
func (a *Agent) wrap(ctx context.Context, item *store.Item, e store.Endpoint) (transport.Packet, error) {
	direct := envelope.Envelope{MediaType: item.Direct.MediaType, Data: item.Direct.Data, To: item.To}
	var opts []envelope.PackOption
	if !item.Expires.IsZero() {
		opts = append(opts, envelope.Expires(item.Expires))
	}
	if item.From != "" {
		d, err := a.cfg.Contacts.Dialect(ctx, item.From, item.To)
		if err != nil {
			a.cfg.Logger.WarnContext(ctx, "capability of the recipient not read", "to", item.To, "error", err)
		}
		opts = append(opts, envelope.Capability(d.Capability))
	}
	f, err := a.cfg.Packer.Forward(forClass(ctx, item.Class), direct, e.RoutingKeys, opts...)
	if err != nil {
		return transport.Packet{}, &transport.SendError{
			Endpoint: e.URI, Retryable: errors.Is(err, envelope.ErrTryLater), Err: fmt.Errorf("wrap: %w", err),
		}
	}
	a.forwards.add(f.ID, e.RoutingKeys[0], item)
	return transport.Packet{MediaType: f.MediaType, Data: f.Data}, nil
}

// moved resolves the DID of an item's recipient again, and returns the endpoints that the
// item does not have.
func (a *Agent) moved(ctx context.Context, item *store.Item) []store.Endpoint {
	ctx = forClass(ctx, item.Class)
	if err := a.cfg.Packer.Refresh(ctx, item.To); err != nil {
		a.cfg.Logger.InfoContext(ctx, "recipient not resolved again", "did", item.To, "error", err)
		return nil
	}
	routes, err := a.routes(ctx, item.To, item.Class)
	if err != nil {
		return nil
	}
	routes = slices.DeleteFunc(routes, func(r envelope.Route) bool {
		return slices.ContainsFunc(item.Endpoints, func(old store.Endpoint) bool { return old.URI == r.URI })
	})
	return endpoints(routes, item.Class)
}
