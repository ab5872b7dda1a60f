package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// learnTimeout is how long a caller waits until its store has recorded a dialect.
const learnTimeout = time.Second

// Answer is the answer to one of several forms of a request.
type Answer struct {
	*Inbound
	PIURI string        // the protocol of the form that was answered
	Took  time.Duration // how long that form waited for its answer
}

// RequestAny sends a request that exists in several forms, for example in two versions of
// a protocol, until one of them is answered. It sends the next form only after the
// recipient to has reported the one before as not supported, see [IsUnsupported].
//
// The forms are given in the order of preference, each with another protocol. Forms that the
// recipient is known to speak come first, and forms that the recipient is known to lack come
// last. RequestAny records which form was answered, and which were not supported, in the
// contact.Dialect of the recipient.
//
// RequestAny sets to in each form, and does not change the forms. All forms share the
// deadline of ctx, or Config.RequestTimeout if ctx has none. Errors are those of
// [Agent.Request] for the last form that was sent, together with the problems that were
// reported before.
func (a *Agent) RequestAny(ctx context.Context, to string, forms []*message.Message, opts ...SendOption) (Answer, error) {
	if len(forms) == 0 {
		return Answer{}, errors.New("agent: a request without a form")
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.cfg.RequestTimeout)
		defer cancel()
	}
	own := *forms[0]
	a.complete(&own, optionsOf(opts...))
	dialect, err := a.cfg.Contacts.Dialect(ctx, own.From, did.Base(to))
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "dialect of the recipient not read", "to", to, "error", err)
	}
	forms = slices.Clone(forms)
	slices.SortStableFunc(forms, func(x, y *message.Message) int {
		return cmp.Compare(order(&dialect, x), order(&dialect, y))
	})
	var lacks []string
	var before error
	for i, form := range forms {
		m, start := *form, time.Now()
		m.To = []string{to}
		in, err := a.Request(ctx, &m, opts...)
		took := time.Since(start)
		if err == nil {
			a.Learn(ctx, in, func(d *contact.Dialect) {
				lacked(d, lacks)
				d.Spoke(piuri(form))
			})
			return Answer{in, piuri(form), took}, nil
		}
		var p *message.Problem
		unsupported := errors.As(err, &p) && IsUnsupported(p)
		if unsupported {
			lacks = append(lacks, piuri(form))
		}
		if before != nil {
			err = fmt.Errorf("%w; before: %w", err, before)
		}
		if before = err; !unsupported || i == len(forms)-1 {
			break
		}
	}
	if len(lacks) > 0 {
		a.learn(ctx, own.From, did.Base(to), func(d *contact.Dialect) { lacked(d, lacks) })
	}
	return Answer{}, before
}

// order returns the place of a form among the others: the forms that the recipient speaks
// are first, and those that it lacks are last.
func order(d *contact.Dialect, form *message.Message) int {
	switch uri := piuri(form); {
	case slices.Contains(d.Speaks, uri):
		return 0
	case slices.Contains(d.Lacks, uri):
		return 2
	}
	return 1
}

// piuri returns the PIURI of the protocol of m.
func piuri(m *message.Message) string {
	t, err := message.ParseType(m.Type)
	if err != nil {
		return m.Type
	}
	return t.PIURI()
}

func lacked(d *contact.Dialect, uris []string) {
	for _, uri := range uris {
		d.Lacked(uri)
	}
}

// IsUnsupported reports whether a problem is that the peer does not know the type of a
// message, so that another form of the message may be worth a try. These are:
//   - a code with the descriptor msg.unsupported, as this package reports;
//   - the code message-parse-failure with a text that ends with "is not supported". Credo
//     has this code also for a message whose body is not valid. The text then is another.
func IsUnsupported(p *message.Problem) bool {
	if p.Code == "message-parse-failure" {
		return strings.HasSuffix(strings.TrimRight(p.Text(), ". "), "is not supported")
	}
	c, err := message.ParseCode(p.Code)
	return err == nil && c.Sorter == message.SorterError && message.CodeHasPrefix(c.Descriptor, "msg.unsupported")
}

// Learn records what a received message has shown about the dialect of its sender: first
// what f adds, and then what the type of the message says. f may be called several times.
//
// Nothing is recorded if the message does not prove its sender, or if the sender is no
// contact. An error of the store is only logged, since a dialect can be learned again.
func (a *Agent) Learn(ctx context.Context, in *Inbound, f func(*contact.Dialect)) {
	if !in.fromPeer() {
		return
	}
	a.learn(ctx, in.To, in.From, func(d *contact.Dialect) {
		f(d)
		in.shows(d)
	})
}

// learn changes the dialect of a party, also if ctx has ended meanwhile.
func (a *Agent) learn(ctx context.Context, own, peer string, f func(*contact.Dialect)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTimeout)
	defer cancel()
	if err := a.cfg.Contacts.Learn(ctx, own, peer, f); err != nil {
		a.cfg.Logger.WarnContext(ctx, "dialect of a contact not recorded", "peer", peer, "error", err)
	}
}

// learnFrom records what the type of any received message shows about the dialect of its
// sender. Most messages show nothing, and then nothing is read from the store.
func (a *Agent) learnFrom(ctx context.Context, in *Inbound) {
	if !in.fromPeer() || in.class != store.ClassKnown {
		return
	}
	if _, known := credoForm(in.Message.Type); !known {
		if !in.acks() {
			return
		}
		if d, err := a.cfg.Contacts.Dialect(ctx, in.To, in.From); err != nil || !d.NoAcks {
			return
		}
	}
	a.Learn(ctx, in, func(*contact.Dialect) {})
}

// shows adds to d what the message shows about the dialect of its sender.
func (in *Inbound) shows(d *contact.Dialect) {
	if in.acks() {
		d.Acks, d.NoAcks = true, false
	}
	if uri, known := credoForm(in.Message.Type); known {
		d.Spoke(uri)
		d.NoAcks = !d.Acks
	}
}

// acks reports whether the message acknowledges another one. A problem report names a
// message in its ack also if its sender acknowledges nothing else.
func (in *Inbound) acks() bool { return len(in.Message.Ack) > 0 && !isProblemReport(in.Message) }

// credoForm reports whether a message type is one that Credo sends in envelopes of DIDComm
// v2, and that is not in the specification. Credo does not answer please_ack. credoForm also
// returns the protocol or type for the Dialect, or "" if the type says no more.
func credoForm(typ string) (uri string, known bool) {
	switch typ {
	case "https://didcomm.org/trust_ping/1.0/ping", "https://didcomm.org/trust_ping/1.0/ping_response":
		return "https://didcomm.org/trust_ping/1.0", true
	case "https://didcomm.org/discover-features/2.0/disclosures":
		return typ, true
	case "https://didcomm.org/notification/1.0/problem-report":
		return "", true
	}
	return "", false
}
