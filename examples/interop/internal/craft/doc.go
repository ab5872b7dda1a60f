// Package craft makes envelopes for tests:
//
//   - sound envelopes, which are correct;
//   - deviations, which depart from DIDComm v2.1 in one point and are otherwise correct;
//   - attacks, which no library may open.
//
// The package tests the opening of package envelope, and shares no code with it.
//
// Call [NewWorld] first. A World has a sender, a recipient and a third party, with new keys.
// [Deviations] and [Attacks] return the faults. [Case.Make] makes an envelope with a fault in
// a World and a Mode, and [Case.Sound] makes the same envelope without the fault. [Tampers]
// returns changes to existing envelopes.
//
// All input of the package comes from its own tables. A failure is therefore a defect of the
// package, and panics.
package craft

import (
	"encoding/base64"
	"encoding/json"
)

// Object is a JSON object.
type Object = map[string]any

var b64 = base64.RawURLEncoding

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func text(v any) []byte { return must(json.Marshal(v)) }

// encoded is a value in base64url.
func encoded(v any) string { return b64.EncodeToString(text(v)) }

// decoded is the object that a member holds in base64url.
func decoded(v any) Object {
	var o Object
	check(json.Unmarshal(bytesOf(v), &o))
	return o
}

// bytesOf is what a member holds in base64url.
func bytesOf(v any) []byte { return must(b64.DecodeString(v.(string))) }
