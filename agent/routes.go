package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// routes returns the routes to a DID for which the Agent has a Sender, in the order of
// the DID document. The Packer leaves out endpoints that do not accept DIDComm v2. For a
// stranger, routes with more than strangerHops routing keys are left out too. The error
// matches ErrNoRoute if there is no route.
func (a *Agent) routes(ctx context.Context, to string, class store.Class) ([]envelope.Route, error) {
	all, err := a.cfg.Packer.Routes(ctx, to)
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

// first returns the routes that are tried.
func first(routes []envelope.Route, class store.Class) []envelope.Route {
	n := delivery.MaxEndpoints
	if class == store.ClassStranger {
		n = strangerEndpoints
	}
	return routes[:min(len(routes), n)]
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

// wrap returns an endpoint for each route, with its packet wrapped in forwards for the
// routing keys. It leaves out the routes whose forward cannot be packed, and joins their
// errors.
func (a *Agent) wrap(ctx context.Context, direct envelope.Envelope, routes []envelope.Route, opts ...envelope.PackOption) ([]store.Endpoint, error) {
	var wrapped []store.Endpoint
	var errs []error
	for _, r := range routes {
		out := store.Endpoint{URI: r.URI}
		if len(r.RoutingKeys) > 0 {
			e, err := a.cfg.Packer.Forward(ctx, direct, r.RoutingKeys, opts...)
			if err != nil {
				errs = append(errs, fmt.Errorf("forward through %s: %w", r.URI, err))
				continue
			}
			out.Packet = store.Packet{MediaType: e.MediaType, Data: e.Data}
		}
		wrapped = append(wrapped, out)
	}
	return wrapped, errors.Join(errs...)
}

// forwardOptions returns the options of a forward that expires together with m.
func forwardOptions(m *message.Message) []envelope.PackOption {
	if m.ExpiresTime.IsZero() {
		return nil
	}
	return []envelope.PackOption{envelope.Expires(m.ExpiresTime)}
}

// moved resolves the DID of an item's recipient again, and returns the endpoints that the
// item does not have. It does so for no stranger: a document that a stranger has made would
// be fetched with every try.
func (a *Agent) moved(ctx context.Context, item *store.Item) []store.Endpoint {
	if item.Class == store.ClassStranger {
		return nil
	}
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
	direct := envelope.Envelope{MediaType: item.Direct.MediaType, Data: item.Direct.Data, To: item.To}
	fresh, err := a.wrap(ctx, direct, first(routes, item.Class))
	if err != nil {
		a.cfg.Logger.InfoContext(ctx, "new endpoints of the recipient cannot be used", "did", item.To, "error", err)
	}
	return fresh
}
