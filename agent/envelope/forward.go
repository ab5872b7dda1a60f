package envelope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// forwardType is the one message of Routing 2.0.
const forwardType = "https://didcomm.org/routing/2.0/forward"

// maxMediators bounds the DIDs that one document can make Routes resolve.
const maxMediators = 8

// Route is one way to reach a DID.
type Route struct {
	// URI is where to send: never a DID.
	URI string
	// Accept lists the profiles that the endpoint takes, in its order of
	// preference; empty if it does not say.
	Accept []string
	// RoutingKeys are the DIDs and DID URLs of keys to wrap forwards for, the
	// first one outermost.
	RoutingKeys []string
}

// Routes returns the ways to reach a DID, in the order of its document. An
// endpoint that is itself a DID is replaced by the endpoints of that mediator,
// whose keys come first in the routing keys (Routing 2.0, Using a DID as an
// endpoint). Endpoints that do not accept DIDComm v2 and the queue transport
// are left out. With nothing left the result is empty and err is nil, unless
// what was found is unusable: then it is ErrService or the Resolver's error.
func (p *Packer) Routes(ctx context.Context, id string) (_ []Route, err error) {
	defer classify(&err)
	doc, err := p.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	var routes []Route
	var failed []error
	mediators := 0
	for _, e := range doc.DIDCommServices() {
		found := []Route{{URI: e.URI, Accept: e.Accept, RoutingKeys: e.RoutingKeys}}
		switch {
		case !acceptsV2(e.Accept) || isQueue(e.URI):
			continue
		case strings.HasPrefix(e.URI, "did:"):
			if mediators++; mediators > maxMediators {
				failed = append(failed, fmt.Errorf("%w: more than %d mediators", ErrService, maxMediators))
				continue
			}
			if found, err = p.mediated(ctx, doc.ID, e); err != nil {
				failed = append(failed, err)
				continue
			}
		}
		for _, r := range found {
			if len(r.RoutingKeys) > p.cfg.MaxHops {
				failed = append(failed, fmt.Errorf("%w: %d routing keys", ErrService, len(r.RoutingKeys)))
				continue
			}
			routes = append(routes, r)
		}
	}
	if len(routes) == 0 {
		return nil, errors.Join(failed...)
	}
	return routes, nil
}

// mediated returns the routes of an endpoint that is the DID of a mediator.
func (p *Packer) mediated(ctx context.Context, owner string, e did.Endpoint) ([]Route, error) {
	mediator := did.Base(e.URI)
	if sameParty(mediator, owner) {
		return nil, fmt.Errorf("%w: %s names itself as mediator", ErrService, owner)
	}
	doc, err := p.resolve(ctx, mediator)
	if err != nil {
		return nil, fmt.Errorf("mediator: %w", err)
	}
	var routes []Route
	for _, m := range doc.DIDCommServices() {
		// A mediator behind another mediator's DID would make resolution
		// recurse; the specification discourages it and we refuse it.
		if strings.HasPrefix(m.URI, "did:") || isQueue(m.URI) || !acceptsV2(m.Accept) {
			continue
		}
		routes = append(routes, Route{
			URI:         m.URI,
			Accept:      m.Accept,
			RoutingKeys: slices.Concat(m.RoutingKeys, []string{mediator}, e.RoutingKeys),
		})
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("%w: mediator %s has no endpoint of its own", ErrService, mediator)
	}
	return routes, nil
}

func isQueue(uri string) bool { return strings.HasPrefix(uri, did.QueueURI) }

// acceptsV2 tells whether an accept list takes DIDComm v2 (Negotiating
// Compatibility); an empty one leaves the choice to us.
func acceptsV2(accept []string) bool {
	return len(accept) == 0 || slices.ContainsFunc(accept, func(profile string) bool {
		name, _, _ := strings.Cut(profile, ";")
		return name == "didcomm/v2"
	})
}

// Forward wraps an encrypted envelope in one anoncrypted forward message for
// each routing key, the last key innermost (Routing 2.0, Sender Process to
// Enable Forwarding). Without routing keys it returns e. The options that apply
// are ContentEncryption and Expires.
func (p *Packer) Forward(ctx context.Context, e Envelope, routingKeys []string, opts ...PackOption) (_ Envelope, err error) {
	defer classify(&err)
	if len(routingKeys) > p.cfg.MaxHops {
		return Envelope{}, fmt.Errorf("%w: %d routing keys", ErrService, len(routingKeys))
	}
	if e.MediaType != MediaTypeEncrypted {
		return Envelope{}, fmt.Errorf("%w: only an encrypted message is forwarded", ErrService)
	}
	o := collect(opts)
	next := e.To
	for _, hop := range slices.Backward(routingKeys) {
		body, err := json.Marshal(map[string]string{"next": next})
		if err != nil {
			return Envelope{}, err
		}
		m := &message.Message{
			ID:          message.NewID(),
			Type:        forwardType,
			To:          []string{did.Base(hop)},
			ExpiresTime: o.expires,
			Body:        body,
			Attachments: []message.Attachment{{
				ID:        message.NewID(),
				MediaType: MediaTypeEncrypted,
				Data:      message.AttachmentData{JSON: e.Data},
			}},
		}
		wrapped, err := p.Pack(ctx, m, To(hop), ContentEncryption(o.enc))
		if err != nil {
			return Envelope{}, fmt.Errorf("forward by %s: %w", hop, err)
		}
		e, next = wrapped[0], hop
	}
	return e, nil
}

// unwrapForward opens the envelope that a forward carries if the envelope is for one of
// our keys: the re-wrapping of Routing 2.0. It returns nil for any other message, and
// for a forward that goes on to somebody else.
//
// A forward has one attachment as a rule. Of more, those are looked at that name
// MaxRecipients keys in all: as many as a single envelope may name.
func (o *opening) unwrapForward(ctx context.Context) (*Unpacked, error) {
	if !message.Is(o.msg, forwardType) {
		return nil, nil
	}
	named := 0
	for _, a := range o.msg.Attachments {
		data, err := a.Data.Bytes()
		if err != nil {
			continue
		}
		env, err := jwe.Parse(data, o.p.jwe)
		if err != nil {
			continue
		}
		if named += len(env.KIDs); named > o.p.cfg.MaxRecipients {
			return nil, nil
		}
		if _, err := o.search.keys(ctx, env.KIDs); err != nil {
			if errors.Is(err, ErrNoKey) {
				continue
			}
			return nil, err
		}
		u, err := o.p.unpack(ctx, data, true)
		if err != nil {
			return nil, fmt.Errorf("re-wrapped message: %w", err)
		}
		u.Metadata.ReWrappedInForward = true
		return u, nil
	}
	return nil, nil
}
