package mediation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Errors of the client that users act on; match them with errors.Is.
var (
	// ErrDenied: the mediator does not take us.
	ErrDenied = errors.New("mediation: the mediator denies mediation")
	// ErrNotEnrolled: the mediator does not know us, or does not any more. Call Enroll.
	ErrNotEnrolled = errors.New("mediation: not enrolled")
	// ErrRefused: the mediator does not take the mail of a DID for us.
	ErrRefused = errors.New("mediation: the mediator refuses the DID")
	// ErrAnswer: the mediator has sent an answer that cannot be used.
	ErrAnswer = errors.New("mediation: unusable answer")
)

// Grant is what a mediator has granted.
type Grant struct {
	Mediator string // the DID of the mediator that was asked
	// RoutingDIDs are the DIDs of the mediator to which forwards are encrypted: at least one.
	RoutingDIDs []string
	PIURI       string // the version that was answered: PIURI2 or PIURI3
}

// RoutingDID returns the DID to use as the endpoint of our DIDs.
func (g *Grant) RoutingDID() string { return g.RoutingDIDs[0] }

// maxRoutingDIDs is how many routing DIDs a grant may have.
const maxRoutingDIDs = 8

// Option is an option of a request to a mediator.
type Option func(*options)

type options struct {
	token    string
	from     string
	replaces string
	proof    []message.Attachment
}

// Token shows the mediator that we may enroll: the id of an invitation of the mediator, which
// becomes the pthid of the request.
func Token(token string) Option { return func(o *options) { o.token = token } }

// As makes the request from another DID of ours than agent.Config.DID.
func As(own string) Option { return func(o *options) { o.from = own } }

// Replaces tells the mediator that the DID of the request has replaced our DID prior
// (from_prior). For Enroll, the account of prior passes to the DID. For Update, that is a proof
// for prior. An empty prior means nothing.
func Replaces(prior string) Option { return func(o *options) { o.replaces = prior } }

// Proofs adds proofs to an update: see [Prove].
func Proofs(proofs ...message.Attachment) Option {
	return func(o *options) { o.proof = append(o.proof, proofs...) }
}

// request sends a request in version 3.0, or in version 2.0 if the mediator lacks 3.0 or is known
// to speak 2.0.
func request(ctx context.Context, a *agent.Agent, mediator string, name func(version) string, body any, opts []Option) (agent.Answer, version, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	var fromPrior string
	if o.from = cmp.Or(o.from, a.DID()); o.replaces != "" {
		var err error
		if fromPrior, err = a.Packer().FromPrior(ctx, o.replaces, o.from, time.Now()); err != nil {
			return agent.Answer{}, v3, err
		}
	}
	var forms []*message.Message
	for _, v := range []version{v3, v2} {
		m, err := message.New(v.piuri+"/"+name(v), body)
		if err != nil {
			return agent.Answer{}, v, err
		}
		m.ParentThreadID, m.FromPrior, m.Attachments = o.token, fromPrior, o.proof
		forms = append(forms, m)
	}
	answer, err := a.RequestAny(ctx, mediator, forms, agent.From(o.from), agent.ReturnRoute("all"))
	v := v3
	if answer.PIURI == PIURI2 {
		v = v2
	}
	return answer, v, refined(err)
}

// refined adds the error of this package that a problem report of the mediator means.
func refined(err error) error {
	var p *message.Problem
	if errors.As(err, &p) && p.Code == mediator.CodeNotEnrolled {
		return fmt.Errorf("%w: %w", ErrNotEnrolled, err)
	}
	return err
}

// is reports whether an answer has the type of a message of version v.
func is(answer agent.Answer, v version, name string) bool {
	return message.Is(answer.Message, v.piuri+"/"+name)
}

func unexpected(answer agent.Answer) error {
	return fmt.Errorf("%w: of type %.200s", ErrAnswer, answer.Message.Type)
}

// Enroll asks a mediator to take mail for us. It asks in version 3.0, and in version 2.0 if the
// mediator does not support 3.0. A mediator that has enrolled us already grants again.
//
// Errors are ErrDenied, ErrAnswer, and those of agent.Agent.RequestAny.
func Enroll(ctx context.Context, a *agent.Agent, mediator string, opts ...Option) (*Grant, error) {
	answer, v, err := request(ctx, a, mediator, func(version) string { return nameRequest }, nil, opts)
	switch {
	case err != nil:
		return nil, fmt.Errorf("enroll: %w", err)
	case is(answer, v, nameDeny):
		return nil, ErrDenied
	case !is(answer, v, nameGrant):
		return nil, unexpected(answer)
	}
	g := &Grant{Mediator: mediator, PIURI: v.piuri}
	var body struct {
		RoutingDID jsontext.Value `json:"routing_did"`
	}
	if err := answer.Message.DecodeBody(&body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var one string
	if json.Unmarshal(body.RoutingDID, &one) == nil { // both forms come in both versions
		g.RoutingDIDs = []string{one}
	} else if err := json.Unmarshal(body.RoutingDID, &g.RoutingDIDs); err != nil || len(g.RoutingDIDs) > maxRoutingDIDs {
		return nil, fmt.Errorf("%w: routing_did", ErrAnswer)
	}
	for _, id := range g.RoutingDIDs {
		if _, err := did.Parse(id); err != nil {
			return nil, fmt.Errorf("%w: routing_did: %w", ErrAnswer, err)
		}
	}
	if len(g.RoutingDIDs) == 0 {
		return nil, fmt.Errorf("%w: no routing_did", ErrAnswer)
	}
	return g, nil
}

// Update changes for which DIDs a mediator takes mail for us. It returns a Result for each
// change, in the order of the changes. A change that the mediator does not mention has the
// outcome ServerError.
//
// Errors are ErrNotEnrolled, ErrAnswer, and those of agent.Agent.RequestAny.
func Update(ctx context.Context, a *agent.Agent, mediator string, changes []Change, opts ...Option) ([]Result, error) {
	answer, v, err := request(ctx, a, mediator, func(v version) string { return v.update }, changesBody{changes}, opts)
	if err != nil {
		return nil, fmt.Errorf("update recipients: %w", err)
	}
	var body updatedBody
	if !is(answer, v, v.updated) {
		return nil, unexpected(answer)
	}
	if err := answer.Message.DecodeBody(&body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	outcomes := make(map[Change]Outcome)
	for _, r := range body.Updated {
		outcomes[Change{r.RecipientDID, r.Action}] = r.Result
	}
	results := make([]Result, len(changes))
	for i, c := range changes {
		results[i] = Result{c.RecipientDID, c.Action, outcomes[c]}
		if results[i].Result == "" {
			results[i].Result = ServerError
		}
	}
	return results, nil
}

// page is how many DIDs of the list of a mediator are asked for at once, and maxPages how many
// answers are read.
const page, maxPages = 200, 200

// Recipients returns the DIDs for which a mediator takes mail for us, as we have spelled them.
//
// Errors are ErrNotEnrolled, ErrAnswer, and those of agent.Agent.RequestAny.
func Recipients(ctx context.Context, a *agent.Agent, mediator string, opts ...Option) ([]string, error) {
	var all []string
	seen := make(map[string]bool)
	for range maxPages {
		answer, v, err := request(ctx, a, mediator, func(v version) string { return v.query }, queryBody{&paginate{page, len(all)}}, opts)
		if err != nil {
			return nil, fmt.Errorf("list recipients: %w", err)
		}
		var body listBody
		if !is(answer, v, v.list) {
			return nil, unexpected(answer)
		}
		if err := answer.Message.DecodeBody(&body); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		list, before := append(body.Keys, body.DIDs...), len(all)
		for _, r := range list {
			if !seen[r.RecipientDID] {
				seen[r.RecipientDID] = true
				all = append(all, r.RecipientDID)
			}
		}
		// A mediator may leave pagination out, and may ignore paginate.
		if p := body.Pagination; len(all) == before || p != nil && p.Remaining <= 0 || p == nil && len(list) < page {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d pages", ErrAnswer, maxPages)
}
