// Package doctor explains envelopes: their layers, and where they depart from
// DIDComm v2.1 or from what receivers are known to take, each with the fix.
//
// Call Examine with an encrypted, signed or plaintext message; it needs no keys
// and fails on nothing. Open also opens what a Packer has the keys of, judges
// what is inside, and tells why it does not open. Rules lists all that is
// looked for, and Report.AddPeers adds the libraries that refuse it. A test suite of
// another implementation can hold its envelopes to that:
//
//	for _, f := range doctor.Examine(data).AtLeast(doctor.Warning) {
//		t.Error(f)
//	}
//
// The checks are those of package envelope itself, whose deviations keep their
// codes here, and those of what it takes silently. A finding is a judgement of
// form: that there is none does not prove who wrote a message.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/trace"
	"github.com/didcomm-go/didcomm/did"
)

// maxLayers bounds how deep layers nest in what is examined; 3 are permitted.
const maxLayers = 8

// Report is what there is to say about a message.
type Report struct {
	// Layers are those that could be read, the outermost first.
	Layers []Layer `json:"layers"`
	// Findings are in the order of the layers; each code comes once a layer.
	Findings []Finding `json:"findings"`
	// Metadata is what Open found proven; nil if the message was not opened.
	Metadata *envelope.Metadata `json:"metadata,omitempty"`
}

// Finding is one thing that a message does otherwise than it should.
type Finding struct {
	Code     string   `json:"code"` // of a Rule
	Severity Severity `json:"severity"`
	// Layer is the place in Report.Layers, from 1; 0 if it concerns all.
	Layer  int    `json:"layer,omitempty"`
	Detail string `json:"detail"` // what stands there
	Clause string `json:"clause"` // where the rule is laid down
	Fix    string `json:"fix"`    // what the sender has to change
	// Value is what should stand there, where that can be computed.
	Value string `json:"value,omitempty"`
	// Peers are those that Report.AddPeers was told of.
	Peers []Peer `json:"peers,omitempty"`
}

// String is the finding in one line.
func (f Finding) String() string {
	s := fmt.Sprintf("%s %s: %s; %s", f.Severity, f.Code, f.Detail, f.Fix)
	if f.Value != "" {
		s += " = " + f.Value
	}
	return s
}

// AtLeast returns the findings of the severity, or of a worse one.
func (r *Report) AtLeast(s Severity) []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Severity.rank() < s.rank() })
}

// Examine explains a message as far as no key is needed: of an encrypted one
// the outermost layer, of a signed one also what is inside. It verifies nothing.
func Examine(data []byte) *Report {
	x := newExam()
	x.look(data)
	return x.report
}

// Open explains a message like Examine and opens it with p, which should not be
// Strict, so that all layers are seen. That it does not open is a finding, too.
func Open(ctx context.Context, p *envelope.Packer, data []byte) *Report {
	x := newExam()
	u, err := p.Unpack(trace.With(ctx, x.look), data)
	if len(x.report.Layers) == 0 && len(x.report.Findings) == 0 {
		x.look(data)
	}
	x.whole = true
	if err != nil {
		x.refused(err)
		return x.report
	}
	x.report.Metadata = &u.Metadata
	for _, d := range u.Metadata.Deviations {
		if !x.has(string(d.Code)) {
			x.add(string(d.Code), d.Detail, "")
		}
	}
	return x.report
}

// exam is one message under examination.
type exam struct {
	report *Report
	// chain holds the layers around the one that is looked at: anon, auth, sign.
	chain []string
	// signers are the kids of the signed layer around it.
	signers []string
	whole   bool // findings are about all layers
}

func newExam() *exam {
	return &exam{report: &Report{Layers: []Layer{}, Findings: []Finding{}}}
}

// add reports a finding, once a layer.
func (x *exam) add(code, detail, value string) {
	layer := len(x.report.Layers)
	if x.whole {
		layer = 0
	}
	for _, f := range x.report.Findings {
		if f.Code == code && f.Layer == layer {
			return
		}
	}
	r := find(code)
	x.report.Findings = append(x.report.Findings, Finding{
		Code: code, Severity: r.Severity, Layer: layer, Detail: detail,
		Clause: r.Clause, Fix: r.Fix, Value: value,
	})
}

// has tells whether some layer has the finding.
func (x *exam) has(codes ...string) bool {
	return slices.ContainsFunc(x.report.Findings, func(f Finding) bool { return slices.Contains(codes, f.Code) })
}

// look examines a layer, and what is in it as far as it is open.
func (x *exam) look(data []byte) {
	for data != nil {
		if len(x.report.Layers) == maxLayers {
			x.add("nesting", fmt.Sprintf("more than %d layers", maxLayers), "")
			return
		}
		kind, err := jose.Detect(data)
		if err != nil {
			x.add("malformed", err.Error(), "")
			return
		}
		switch kind {
		case jose.KindJWE:
			x.encrypted(data)
			return
		case jose.KindJWS:
			data = x.signed(data)
		default:
			x.plaintext(data)
			return
		}
	}
}

// nest judges a layer's place among those around it (IANA Media Types).
func (x *exam) nest(kind string) {
	outer := ""
	if n := len(x.chain); n > 0 {
		outer = x.chain[n-1]
	}
	switch {
	case outer == "sign", outer == "auth" && kind != "sign", outer == "anon" && kind == "anon":
		x.add("nesting", kind+" inside "+outer, "")
	case outer == "auth":
		x.add("authcrypt-of-signed", "a signed message inside authcrypt", "")
	}
	x.chain = append(x.chain, kind)
}

// refusals names what Unpack can refuse that an examination cannot see. A
// refusal that one of the codes in seen explains already is not told again.
func refusals() []struct {
	err  error
	code string
	seen []string
} {
	return []struct {
		err  error
		code string
		seen []string
	}{
		{envelope.ErrFromPrior, "from-prior", nil},
		{envelope.ErrNoKey, "no-key", nil},
		{envelope.ErrDecrypt, "decrypt", nil},
		{envelope.ErrSignature, "signature", nil},
		{envelope.ErrSenderMismatch, "sender-mismatch", nil},
		{envelope.ErrSignerMismatch, "signer-mismatch", []string{"signer-mismatch"}},
		{envelope.ErrRecipientMismatch, "recipient-mismatch", []string{"signed-encrypted-no-to"}},
		{did.ErrNotFound, "unresolved", nil},
		{did.ErrMethod, "unresolved", nil},
		{did.ErrInvalid, "unresolved", nil},
	}
}

// refused tells why the message did not open.
func (x *exam) refused(err error) {
	if strict := new(envelope.DeviationError); errors.As(err, &strict) {
		for _, d := range strict.Deviations {
			if !x.has(string(d.Code)) {
				x.add(string(d.Code), d.Detail, "")
			}
		}
		return
	}
	for _, r := range refusals() {
		if errors.Is(err, r.err) {
			if !x.has(r.seen...) {
				x.add(r.code, err.Error(), "")
			}
			return
		}
	}
	if len(x.report.AtLeast(Error)) == 0 {
		x.add("not-opened", err.Error(), "")
	}
}
