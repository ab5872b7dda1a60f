package craft

import (
	"encoding/json"
	"slices"

	"github.com/didcomm-go/didcomm/agent/keyring"
)

// Mode is which layers an envelope has.
type Mode string

// Modes.
const (
	Plain        Mode = "plain"
	Signed       Mode = "signed"
	SignedKID    Mode = "signed, kid protected" // for receivers that read kid there alone
	Anoncrypt    Mode = "anoncrypt"
	AnonOfSigned Mode = "anoncrypt(sign)"
	Authcrypt    Mode = "authcrypt"
	// Forward is a forward inside anoncrypt, for Bob as a mediator.
	Forward Mode = "forward"
)

// Draft is an envelope in the making.
type Draft struct {
	*World
	Mode    Mode
	Message Object
	JWS     *JWS // nil: not signed
	JWE     *JWE // nil: not encrypted
	// Inside and Outside change what goes into the outermost layer and what
	// comes out of it.
	Inside, Outside func([]byte) []byte
}

// draft is a sound envelope in the making.
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

// forward is a sound forward (DIDComm v2.1, Routing Protocol 2.0) of a sound
// anoncrypt for Eve.
func (w *World) forward() Object {
	m := w.Message()
	delete(m, "from")
	m["to"] = []string{w.Eve.DID}
	inner := json.RawMessage((&JWE{To: w.Eve.Agree[:1]}).seal(text(m)))
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
			data = d.JWS.sign(data)
		}
	} else {
		if d.JWS != nil {
			data = d.JWS.sign(data)
		}
		if d.Inside != nil {
			data = d.Inside(data)
		}
		data = d.JWE.seal(data)
	}
	if d.Outside != nil {
		data = d.Outside(data)
	}
	return data
}

// Case is one fault.
type Case struct {
	Rule string // the code of package doctor's rule about it
	Name string // what tells it from other cases of the rule; may be ""
	// On are the modes that it concerns. With First a receiver need be asked in
	// one alone, the first that it opens.
	On    []Mode
	First bool
	Curve keyring.Curve // of the keys for key agreement; X25519 if ""
	// Message: it is about the message, or about whether the layers and it
	// agree, where a library for JOSE has no part.
	Message bool
	// Refused is what package envelope refuses it with, an error of its own; nil
	// where it opens it.
	Refused error
	// Without is the mode of the sound envelope to hold it against, where that
	// is another than its own.
	Without Mode

	setup  func(d *Draft) // what the sound envelope has too; nil for nothing more
	change func(d *Draft)
}

// String is the rule, and the name if there is one.
func (c Case) String() string {
	if c.Name == "" {
		return c.Rule
	}
	return c.Rule + ": " + c.Name
}

// World makes a world for the case.
func (c Case) World() *World { return NewWorld(c.Curve) }

// Make makes the envelope, as it would stand on the wire, and the message in it
// as it is written there.
func (c Case) Make(w *World, m Mode) (data, message []byte) {
	d := c.draft(w, m)
	c.change(d)
	return d.bytes(), text(d.Message)
}

// Sound makes the same without the fault.
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

// Deviations are the faults that hold together: keys, tag and signature are
// right. Most do no harm by themselves; package envelope opens many, and Refused
// says which not.
func Deviations() []Case {
	return slices.Concat(jweCases(), jwsCases(), plaintextCases(), forwardCases())
}
