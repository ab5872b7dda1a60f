// Package craft makes envelopes as another author would write them: sound ones,
// ones that depart from DIDComm v2.1 in one thing and still hold together, and
// ones that nobody must open. It shares no code with package envelope, whose
// opening it is to judge.
//
// Start with NewWorld, which has a sender, a recipient and a third party with
// fresh keys, and take Deviations and Attacks: each Case makes an envelope of
// the world's in a Mode, beside Sound, the same without the fault. Tampers change
// an envelope that exists already, whoever made it.
//
// The package is for tests. What is given to it comes from its own tables, so
// that a failure within is a defect and panics.
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
