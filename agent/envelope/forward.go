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

// forwardType is the type of the forward message of Routing 2.0.
const forwardType = "https://didcomm.org/routing/2.0/forward"

// maxMediators is the number of mediators' DIDs that Routes resolves for one document.
const maxMediators = 8

// Route is one way to reach a DID.
type Route struct {
	// URI is the endpoint to send to. It is never a DID.
	URI string
	// Accept lists the profiles that the endpoint accepts, such as "didcomm/v2", the
	// preferred one first. It is empty if the DID document does not say.
	Accept []string
	// RoutingKeys are the DIDs or DID URLs of the mediators' keys. Forward wraps a message
	// for each of them; the first one is the outermost.
	RoutingKeys []string
}

// Routes returns the ways to reach a DID, in the order of the services in its document.
//
//   - If an endpoint is itself a DID, it is the DID of a mediator. Routes replaces such an
//     endpoint by the endpoints of the mediator, and puts the mediator's keys in front of the
//     routing keys (Routing 2.0, Using a DID as an endpoint).
//   - Endpoints that do not accept DIDComm v2 are left out.
//   - The queue transport (didcomm:transport/queue) is left out.
//
// If no endpoint is left, Routes returns no route and no error. If endpoints are left and
// none of them can be used, the error matches ErrService or is that of the Resolver.
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

// mediated returns the routes of the endpoint e, which is the DID of a mediator.
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
		// A mediator behind another mediator's DID would make resolution recursive. The
		// specification discourages such a service.
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

// acceptsV2 reports whether an accept list includes DIDComm v2 (Negotiating Compatibility).
// An empty list leaves the choice to the sender.
func acceptsV2(accept []string) bool {
	return len(accept) == 0 || slices.ContainsFunc(accept, func(profile string) bool {
		name, _, _ := strings.Cut(profile, ";")
		return name == "didcomm/v2"
	})
}

// Forward wraps an encrypted envelope in forward messages: one for each routing key, each
// of them anoncrypted (Routing 2.0, Sender Process to Enable Forwarding). The first routing
// key is that of the outermost forward. Without routing keys Forward returns e. Of the
// options, ContentEncryption, Expires and Capability have an effect.
//
// A forward names a mediator by its DID, and the mediator's keys by their ids in the DID
// document. Some mediators do not know their own DID, and are recognized by the shape of the
// document: a did:peer:2 of an X25519 key that is the image of its Ed25519 key, with one
// endpoint that is a plain string. A forward to such a mediator names the did:key of that key.
//
// The error matches a class of this package. It matches ErrService if e is not encrypted or
// if there are more routing keys than Config.MaxHops; others are those of Pack.
func (p *Packer) Forward(ctx context.Context, e Envelope, routingKeys []string, opts ...PackOption) (_ Envelope, err error) {
	defer classify(&err)
	if len(routingKeys) > p.cfg.MaxHops {
		return Envelope{}, fmt.Errorf("%w: %d routing keys", ErrService, len(routingKeys))
	}
	if e.MediaType != MediaTypeEncrypted {
		return Envelope{}, fmt.Errorf("%w: only an encrypted message is forwarded", ErrService)
	}
	o := collect(opts)
	next := p.Long(ctx, e.To)
	for _, key := range slices.Backward(routingKeys) {
		wrapped, err := p.forward(ctx, e, key, next, &o)
		if err != nil {
			return Envelope{}, fmt.Errorf("forward by %s: %w", key, err)
		}
		e, next, o.capability = wrapped, p.Long(ctx, key), "" // only the mediator of e.To knows it
	}
	return e, nil
}

// forward wraps e in one forward message, for the mediator with the routing key.
func (p *Packer) forward(ctx context.Context, e Envelope, key, next string, o *packOptions) (Envelope, error) {
	t, mediator, err := p.hop(ctx, key)
	if err != nil {
		return Envelope{}, err
	}
	body, err := json.Marshal(struct {
		Next       string `json:"next"`
		Capability string `json:"capability,omitzero"`
	}{next, o.capability})
	if err != nil {
		return Envelope{}, err
	}
	m := &message.Message{
		ID:          message.NewID(),
		Type:        forwardType,
		To:          []string{mediator},
		ExpiresTime: o.expires,
		Body:        body,
		Attachments: []message.Attachment{{
			ID:        message.NewID(),
			MediaType: MediaTypeEncrypted,
			Data:      message.AttachmentData{JSON: e.Data},
		}},
	}
	payload, err := m.Append(make([]byte, 0, 512+len(e.Data)))
	if err != nil {
		return Envelope{}, fmt.Errorf("encode message: %w", err)
	}
	anon := packOptions{enc: o.enc, to: []string{key}}
	if err := anon.check(&message.Message{}); err != nil {
		return Envelope{}, err
	}
	return p.seal(Envelope{ID: m.ID, MediaType: message.MediaType, Data: payload}, t, &anon)
}

// unwrapForward opens the envelope in a forward message if that envelope is for a key of
// ours (Routing 2.0, Rewrapping), and that key may belong to the same party as the key that
// opened the forward (see [Relater]). It returns nil for a forward to somebody else and for
// any other message.
//
// A forward has a single attachment as a rule. With more attachments, unwrapForward stops
// when they name more than MaxRecipients keys together: no more than one envelope may name.
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
		if _, err := o.search.keys(ctx, env.KIDs, o.ours); err != nil {
			if errors.Is(err, ErrNoKey) {
				continue
			}
			return nil, err
		}
		u, err := o.p.unpack(ctx, data, o)
		if err != nil {
			return nil, fmt.Errorf("re-wrapped message: %w", err)
		}
		u.Metadata.ReWrappedInForward = true
		return u, nil
	}
	return nil, nil
}
