package craft_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

func packer(t testing.TB, w *craft.World, p *craft.Party) *envelope.Packer {
	t.Helper()
	packer, err := envelope.New(envelope.Config{Keys: p.Keys, Resolver: w})
	if err != nil {
		t.Fatal(err)
	}
	return packer
}

// Each case is what it says: the sound envelope opens without a word; the other
// opens too or is refused by the error of its class; and the doctor finds the
// rule that it is about.
func TestCases(t *testing.T) {
	for _, c := range slices.Concat(craft.Deviations(), craft.Attacks()) {
		for _, m := range c.On {
			t.Run(c.String()+"/"+string(m), func(t *testing.T) {
				w := c.World()
				data, sent := c.Sound(w, m)
				u, err := packer(t, w, w.Bob).Unpack(t.Context(), data)
				if err != nil || len(u.Metadata.Deviations) > 0 {
					t.Fatalf("sound: %v, %+v", err, u)
				}
				same(t, sent, u.Message)
				data, sent = c.Make(w, m)
				u, err = packer(t, w, w.Bob).Unpack(t.Context(), data)
				if !errors.Is(err, c.Refused) {
					t.Errorf("got %v, want %v", err, c.Refused)
				}
				if err == nil {
					same(t, sent, u.Message)
				}
				if r := doctor.Open(t.Context(), packer(t, w, w.Bob), data); !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
					return f.Code == c.Rule
				}) {
					t.Errorf("the doctor finds %v", r.Findings)
				}
			})
		}
	}
}

func same(t *testing.T, sent []byte, got *message.Message) {
	t.Helper()
	want, _, err := message.Parse(sent)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("message %+v, sent %+v", got, want)
	}
}

// Whatever is changed from outside is refused, by the error of its class.
func TestTampers(t *testing.T) {
	for _, c := range craft.Tampers() {
		for _, m := range c.On {
			t.Run(c.Name+"/"+string(m), func(t *testing.T) {
				w := craft.NewWorld(c.Curve)
				data, err := c.Apply(packed(t, w, m), w)
				if err != nil {
					t.Fatal(err)
				}
				if u, err := packer(t, w, w.Bob).Unpack(t.Context(), data); !errors.Is(err, c.Refused) {
					t.Errorf("got %v, %+v; want %v", err, u, c.Refused)
				}
			})
		}
	}
}

// packed is an envelope by package envelope, which opens.
func packed(t *testing.T, w *craft.World, m craft.Mode) []byte {
	t.Helper()
	msg, _, err := message.Parse([]byte(`{"id":"1","type":"https://example.org/interop/1.0/test","body":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	msg.To = []string{w.Bob.DID}
	var options []envelope.PackOption
	switch m {
	case craft.Signed:
		msg.From = w.Alice.DID
		options = append(options, envelope.SignBy(w.Alice.Sign["EdDSA"].KID), envelope.Signed())
	case craft.Authcrypt:
		msg.From = w.Alice.DID
		options = append(options, envelope.From(w.Alice.DID))
	}
	envs, err := packer(t, w, w.Alice).Pack(t.Context(), msg, options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packer(t, w, w.Bob).Unpack(t.Context(), envs[0].Data); err != nil {
		t.Fatal(err)
	}
	return envs[0].Data
}
