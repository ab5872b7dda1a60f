// Package doctor explains encrypted, signed and plaintext DIDComm messages: which layers a
// message has, where it breaks a rule of DIDComm v2.1, where known receivers would refuse
// it, and how the sender can mend it.
//
//   - [Examine] needs no keys and accepts any bytes.
//   - [Open] also opens the message with a Packer. It examines the inner layers, and tells
//     why a message does not open.
//   - [Rules] lists the rules that are checked.
//   - [Report.AddPeers] adds the libraries that were seen to refuse such a message.
//
// The test suite of another implementation can check its envelopes like this:
//
//	for _, f := range doctor.Examine(data).AtLeast(doctor.Warning) {
//		t.Error(f)
//	}
//
// Each deviation that package envelope tolerates is a finding with the same code. Other
// findings are about forms that package envelope accepts without a deviation. Findings judge
// only the form of a message: a message without findings may still be a forgery.
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

// maxLayers is the number of layers that are examined. DIDComm permits three.
const maxLayers = 8

// Report is the result of an examination.
type Report struct {
	// Layers are the layers that could be read, the outermost first.
	Layers []Layer `json:"layers"`
	// Findings are in the order of the layers. A layer has each code at most once.
	Findings []Finding `json:"findings"`
	// Metadata is that of the message that Open has opened. It is nil after Examine, and
	// if the message did not open.
	Metadata *envelope.Metadata `json:"metadata,omitempty"`
}

// Finding is a rule that a message breaks.
type Finding struct {
	Code     string   `json:"code"` // of a Rule
	Severity Severity `json:"severity"`
	// Layer is the number of the layer in Report.Layers, from 1. It is 0 if the finding
	// concerns the whole message.
	Layer  int    `json:"layer,omitempty"`
	Detail string `json:"detail"` // the fault in this message
	Clause string `json:"clause"` // the part of a specification that has the rule
	Fix    string `json:"fix"`    // the change that the sender has to make
	// Value is the right value of the header that is wrong or missing. It is empty if the
	// right value cannot be computed.
	Value string `json:"value,omitempty"`
	// Peers are the libraries that AddPeers has added.
	Peers []Peer `json:"peers,omitempty"`
}

// String returns the finding in one line.
func (f Finding) String() string {
	s := fmt.Sprintf("%s %s: %s; %s", f.Severity, f.Code, f.Detail, f.Fix)
	if f.Value != "" {
		s += " = " + f.Value
	}
	return s
}

// AtLeast returns the findings of severity s or worse.
func (r *Report) AtLeast(s Severity) []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Severity.rank() < s.rank() })
}

// Examine explains a message without keys. Of an encrypted message it examines the outermost
// layer, of a signed message also the message inside. Examine does not verify signatures.
func Examine(data []byte) *Report {
	x := newExam()
	x.look(data)
	return x.report
}

// Open explains a message like Examine, and also opens the message with p and examines all
// its layers. If the message does not open, a finding tells why. p should not be Strict: a
// strict Packer stops at the first layer that deviates.
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

// exam is the examination of a message.
type exam struct {
	report *Report
	// chain are the layers around the current layer: anon, auth or sign.
	chain []string
	// signers are the kids of the signed layer around the current layer.
	signers []string
	whole   bool // findings concern the whole message, not the current layer
}

func newExam() *exam {
	return &exam{report: &Report{Layers: []Layer{}, Findings: []Finding{}}}
}

// add adds a finding, unless the layer has a finding of that code already.
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

// has reports whether any layer has a finding of one of the codes.
func (x *exam) has(codes ...string) bool {
	return slices.ContainsFunc(x.report.Findings, func(f Finding) bool { return slices.Contains(codes, f.Code) })
}

// look examines a layer, and the layers inside that are not encrypted.
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

// nest checks that a layer of this kind may be inside the layers around it (IANA Media
// Types).
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

// refusals are the rules of Unpack that only Unpack can check, with the code of the finding.
// If there is a finding of a code in seen, it explains the refusal already.
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

// refused adds the finding that tells why the message did not open.
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
