//go:build interop

package interop_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// verdict is what a peer does with an envelope.
type verdict string

const (
	opens   verdict = "opens"
	refuses verdict = "refuses"
	breaks  verdict = "breaks" // its program dies or hangs
	// unasked: it does not open the same without the fault, or its library
	// leaves to its users what the fault is about.
	unasked verdict = "-"
)

// fault is what a peer did with a case of package craft.
type fault struct {
	craft.Case
	mode    craft.Mode
	attack  bool
	verdict verdict
	words   string // the peer's, of a refusal
}

// label tells the fault from others of its rule.
func (f fault) label() string {
	switch {
	case f.First || len(f.On) == 1:
		return f.Name
	case f.Name == "":
		return "in " + string(f.mode)
	}
	return f.Name + ", in " + string(f.mode)
}

// faults sends the peer every fault that stands in an envelope which it opens
// otherwise, and the same to us. What it opens is written down; what we open,
// and must not, fails.
func (s *suite) faults(t *testing.T) {
	t.Run("faults", func(t *testing.T) {
		for _, c := range craft.Deviations() {
			s.fault(t, c, false)
		}
		for _, c := range craft.Attacks() {
			s.fault(t, c, true)
		}
	})
}

func (s *suite) fault(t *testing.T, c craft.Case, attack bool) {
	if c.Message && s.justJOSE {
		return
	}
	for i, m := range c.On {
		f := fault{Case: c, mode: m, attack: attack, verdict: unasked}
		openHere(t, c, c.World(), m)
		if soundCase, ok := s.sound(t, c, m); ok {
			w := soundCase.World()
			data, message := soundCase.Make(w, m)
			f.verdict, f.words = s.opens(t, w, m, data, message)
			t.Logf("%s (%s): %s %s", c, m, f.verdict, f.words)
		} else if c.First && i < len(c.On)-1 {
			continue
		}
		s.row.faults = append(s.row.faults, f)
		if c.First {
			return
		}
	}
}

// sound tells whether the peer opens a case's envelope without the fault, with
// keys on X25519 or else on P-256, where the case leaves the choice.
func (s *suite) sound(t *testing.T, c craft.Case, m craft.Mode) (craft.Case, bool) {
	t.Helper()
	curves := []keyring.Curve{c.Curve}
	if c.Curve == "" {
		curves = []keyring.Curve{keyring.X25519, keyring.P256}
	}
	for _, c.Curve = range curves {
		w := c.World()
		data, message := c.Sound(w, m)
		got, words := s.opens(t, w, m, data, message)
		if got == opens {
			return c, true
		}
		t.Logf("%s (%s): not asked on %s: without it, it %s: %s", c, m, c.Curve, got, words)
	}
	return c, false
}

// openHere holds us to a case: we refuse it by the error of its class, or open it.
func openHere(t *testing.T, c craft.Case, w *craft.World, m craft.Mode) {
	t.Helper()
	data, _ := c.Make(w, m)
	if _, err := newPacker(t, w.Bob.Keys, w).Unpack(t.Context(), data); !errors.Is(err, c.Refused) {
		t.Errorf("%s (%s): our unpack: got %v, want %v", c, m, err, c.Refused)
	}
}

// missing is the type of errors by which a peer's program says that it has no key
// or document to give to its library, which takes keys.
const missing = "missing"

// opens hands an envelope from Alice to the peer as Bob.
func (s *suite) opens(t *testing.T, w *craft.World, m craft.Mode, data, message []byte) (verdict, string) {
	t.Helper()
	if !json.Valid(data) { // Compact
		data = inJSON(t, string(data))
	}
	params := peer.UnpackParams{Known: knownWorld(t, w.Bob, w), Envelope: data}
	var got any
	var err error
	if m == craft.Forward {
		got, err = s.Unwrap(t.Context(), params)
	} else {
		got, err = s.Unpack(t.Context(), params)
	}
	refused := (*peer.RefusedError)(nil)
	switch {
	case errors.Is(err, peer.ErrLacks), errors.As(err, &refused) && refused.Type == missing:
		return unasked, err.Error()
	case errors.As(err, &refused):
		return refuses, words(refused)
	case err != nil:
		return breaks, err.Error()
	}
	if !carries(inJSON(t, got), message, m) {
		return refuses, "hands out something else"
	}
	return opens, ""
}

// carries tells whether a peer's result has the message, by what is random in
// it. Some peers change what deviates, so that it need not be the same.
func carries(result, message []byte, m craft.Mode) bool {
	var sent struct {
		ID, Body    any
		Attachments []struct {
			Data struct {
				JSON   json.RawMessage
				Base64 string
			}
		}
	}
	if json.Unmarshal(message, &sent) != nil {
		return false
	}
	if m == craft.Forward {
		inner := []byte(sent.Attachments[0].Data.JSON)
		if inner == nil {
			inner, _ = base64.RawURLEncoding.DecodeString(sent.Attachments[0].Data.Base64)
		}
		var got peer.UnwrapResult
		if json.Unmarshal(result, &got) != nil {
			return false
		}
		want, err := members(inner)
		have, haveErr := members(got.Envelope)
		return err == nil && haveErr == nil && sameMembers(want, have) == nil
	}
	if id, _ := sent.ID.(string); id != "" && bytes.Contains(result, []byte(id)) {
		return true
	}
	body, _ := sent.Body.(map[string]any)
	text, _ := body["text"].(string)
	return text != "" && bytes.Contains(result, []byte(text))
}

// inJSON is a value in JSON.
func inJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// knownWorld is what the peer is told as one of a world's parties.
func knownWorld(t *testing.T, own *craft.Party, w *craft.World) peer.Known {
	t.Helper()
	k := peer.Known{Secrets: secrets(t, own.Keys)}
	for _, d := range []*did.Document{w.Alice.Document, w.Bob.Document, w.Eve.Document} {
		k.Documents = append(k.Documents, inJSON(t, d))
	}
	return k
}

// fresh is what is new in each run: identifiers, keys and parts of envelopes.
var fresh = regexp.MustCompile(`did:example:[a-z2-7]{26}|\b[A-Z2-7]{26}\b|[A-Za-z0-9_-]{43,}={0,2}`)

// words are what a peer said, in one line and without what is new in each run.
func words(e *peer.RefusedError) string {
	text := fresh.ReplaceAllStringFunc(e.Type+": "+e.Message, func(s string) string {
		if strings.HasPrefix(s, "did:") {
			return "did:example:..."
		}
		return "..."
	})
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 160 {
		text = string(r[:160]) + "..."
	}
	return text
}

func TestWords(t *testing.T) {
	key := strings.Repeat("a1_-", 11)
	for said, want := range map[string]string{
		"no key for did:example:abcdefghijklmnopqrstuvwxyz#agree-1":    "T: no key for did:example:...#agree-1",
		"id ABCDEFGHIJKLMNOPQRSTUVWXYZ,\n\tkey " + key + " twice":      "T: id ..., key ... twice",
		"UnsupportedCriticalHeaderParameterError at line 1 column 203": "T: UnsupportedCriticalHeaderParameterError at line 1 column 203",
		strings.Repeat("\u00e9 ", 200):                                 "T: " + strings.Repeat("\u00e9 ", 78) + "\u00e9...",
	} {
		if got := words(&peer.RefusedError{Type: "T", Message: said}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
