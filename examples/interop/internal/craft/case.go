package craft

import (
	"encoding/json"
	"slices"

	"github.com/didcomm-go/didcomm/agent/keyring"
)

// Mode says which layers an envelope has.
type Mode string

// Modes.
const (
	Plain        Mode = "plain"
	Signed       Mode = "signed"
	SignedKID    Mode = "signed, kid protected" // for receivers that read kid only there
	Anoncrypt    Mode = "anoncrypt"
	AnonOfSigned Mode = "anoncrypt(sign)"
	Authcrypt    Mode = "authcrypt"
	// Forward is a forward inside anoncrypt, for Bob as a mediator.
	Forward Mode = "forward"
)

// Draft is an envelope that is not finished.
type Draft struct {
	*World
	Mode    Mode
	Message Object
	JWS     *JWS // nil: not signed
	JWE     *JWE // nil: not encrypted
	// Inside changes the input of the outermost layer, and Outside its output.
	Inside, Outside func([]byte) []byte
}

// draft returns the Draft of a sound envelope.
func draft(w *World, m Mode) *Draft {
	d := &Draft{World: w, Mode: m, Message: w.Message()}
	switch m {
	case Signed, SignedKID, AnonOfSigned:
		d.JWS = &JWS{Signers: []Signer{{SignKey: w.Alice.Sign["EdDSA"], Protect: m == SignedKID}}}
	case Forward:
		d.Message = w.forward()
	}
	switch m {
	case Anoncrypt:
		delete(d.Message, "from")
		fallthrough
	case AnonOfSigned, Forward:
		d.JWE = &JWE{To: w.Bob.Agree[:1]}
	case Authcrypt:
		d.JWE = &JWE{From: &w.Alice.Agree[0], To: w.Bob.Agree[:1]}
	}
	return d
}

// forward returns a sound forward (DIDComm v2.1, Routing Protocol 2.0) of a sound anoncrypt
// for Eve.
func (w *World) forward() Object {
	m := w.Message()
	delete(m, "from")
	m["to"] = []string{w.Eve.DID}
	inner := json.RawMessage((&JWE{To: w.Eve.Agree[:1]}).Seal(text(m)))
	f := w.Message()
	delete(f, "from")
	f["type"], f["body"] = "https://didcomm.org/routing/2.0/forward", Object{"next": w.Eve.DID}
	f["attachments"] = []any{Object{"id": "1", "media_type": "application/didcomm-encrypted+json", "data": Object{"json": inner}}}
	return f
}

func (d *Draft) bytes() []byte {
	data := text(d.Message)
	if d.JWE == nil {
		if d.Inside != nil {
			data = d.Inside(data)
		}
		if d.JWS != nil {
			data = d.JWS.Sign(data)
		}
	} else {
		if d.JWS != nil {
			data = d.JWS.Sign(data)
		}
		if d.Inside != nil {
			data = d.Inside(data)
		}
		data = d.JWE.Seal(data)
	}
	if d.Outside != nil {
		data = d.Outside(data)
	}
	return data
}

// Case is one fault.
type Case struct {
	Rule string // the code of the rule in package doctor
	Name string // distinguishes cases of the same rule; may be ""
	// On are the modes of the envelopes. With First, it is enough to ask a receiver in one
	// mode: the first whose sound envelope it opens.
	On    []Mode
	First bool
	Curve keyring.Curve // of the keys for key agreement; X25519 if ""
	// Message says that the fault is in the message, or between the message and the layers.
	// A library for JOSE alone does not see such faults.
	Message bool
	// Refused is the error of package envelope, or nil if package envelope opens the
	// envelope.
	Refused error
	// Without is the mode of the sound envelope, if it is another mode.
	Without Mode

	setup  func(d *Draft) // changes the sound envelope as well; may be nil
	change func(d *Draft)
}

// String returns the rule, and the name if there is one.
func (c Case) String() string {
	if c.Name == "" {
		return c.Rule
	}
	return c.Rule + ": " + c.Name
}

// World makes a world for the case.
func (c Case) World() *World { return NewWorld(c.Curve) }

// Make makes the envelope as it is sent, and the message in it as it is written there.
func (c Case) Make(w *World, m Mode) (data, message []byte) {
	d := c.draft(w, m)
	c.change(d)
	return d.bytes(), text(d.Message)
}

// Sound makes the same envelope without the fault.
func (c Case) Sound(w *World, m Mode) (data, message []byte) {
	if c.Without != "" {
		m = c.Without
	}
	d := c.draft(w, m)
	return d.bytes(), text(d.Message)
}

func (c Case) draft(w *World, m Mode) *Draft {
	d := draft(w, m)
	if c.setup != nil {
		c.setup(d)
	}
	return d
}

// Deviations returns the faults in envelopes that are otherwise correct: keys, tag and
// signature are right. Most of these faults are harmless, and package envelope opens many of
// them. Refused says which of them it refuses.
func Deviations() []Case {
	return slices.Concat(jweCases(), jwsCases(), plaintextCases(), forwardCases())
}
