package interop_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// credoRecording is a file in testdata/credo: a message of a live Credo agent.
// testdata/README.md has the format.
type credoRecording struct {
	Name         string           `json:"-"` // of the file
	What         string           `json:"what"`
	MediaType    string           `json:"media_type,omitzero"`
	URL          string           `json:"url,omitzero"` // of an invitation
	Packed       jsontext.Value   `json:"packed,omitzero"`
	Plaintext    jsontext.Value   `json:"plaintext"`
	Secrets      []jsontext.Value `json:"recipient_secrets,omitzero"`
	InnerSecrets []jsontext.Value `json:"inner_secrets,omitzero"` // of the recipient behind a forward
	Documents    []jsontext.Value `json:"did_docs"`
	Expected     recorded         `json:"expected"`
}

// recorded is what has to come of a recording.
type recorded struct {
	Accept       bool           `json:"accept,omitzero"`
	Protection   string         `json:"protection,omitzero"`
	Alg          string         `json:"alg,omitzero"`
	Enc          envelope.Enc   `json:"enc,omitzero"`
	RecipientKID string         `json:"recipient_kid,omitzero"`
	SenderKID    string         `json:"sender_kid,omitzero"`
	Type         string         `json:"type,omitzero"`
	MessageID    string         `json:"message_id,omitzero"`
	From         string         `json:"from,omitzero"`
	ThreadID     string         `json:"thid,omitzero"`
	ParentID     string         `json:"pthid,omitzero"`
	FromPrior    *recordedPrior `json:"from_prior,omitzero"`
	Next         string         `json:"next,omitzero"`     // of a forward
	Layers       int            `json:"layers,omitzero"`   // of forwards, up to the message
	NextHop      string         `json:"next_hop,omitzero"` // the mediator of an invitation's DID
}

type recordedPrior struct {
	Iss    string         `json:"iss"`
	Sub    string         `json:"sub"`
	Iat    int64          `json:"iat"`
	Header jsontext.Value `json:"header"`
}

// credoTime is a time after all recordings.
var credoTime = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// credoDeviations are the deviations in the recordings that have some.
var credoDeviations = map[string][]message.DeviationCode{
	"did-rotate-by-credo-empty":            {envelope.DeviationFromPriorKID},
	"forward-2.0-kid-did-key":              {envelope.DeviationKID},
	"from-prior-basicmessage":              {envelope.DeviationFromPriorKID},
	"from-prior-first-answer-return-route": {envelope.DeviationFromPriorKID, envelope.DeviationFromPriorSender},
}

// recordings returns all files in testdata/credo.
func recordings(t testing.TB) []*credoRecording {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "credo", "*.json"))
	if err != nil || len(paths) != 65 {
		t.Fatalf("%d recordings: %v", len(paths), err)
	}
	var all []*credoRecording
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r := &credoRecording{Name: strings.TrimSuffix(filepath.Base(path), ".json")}
		if err := json.Unmarshal(data, r, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, r)
	}
	return all
}

// byMethod resolves the DIDs of the recordings without a network.
var byMethod = did.Methods{"peer": didpeer.NewResolver(), "key": didkey.Resolver{}}

// resolver returns the recorded documents. Other DIDs, such as the prior ones, contain their
// documents.
func (r *credoRecording) resolver(t testing.TB) did.Resolver {
	t.Helper()
	documents := map[string]*did.Document{}
	for _, data := range r.Documents {
		doc, err := did.ParseDocument(data)
		if err != nil {
			t.Fatal(err)
		}
		documents[doc.ID] = doc
	}
	return did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
		if doc, ok := documents[id]; ok {
			return doc, nil
		}
		return byMethod.Resolve(ctx, id)
	})
}

// packer opens with recorded keys.
func (r *credoRecording) packer(t testing.TB, resolver did.Resolver, strict bool, secrets []jsontext.Value) *envelope.Packer {
	t.Helper()
	data, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(data)
	if err != nil {
		t.Fatal(err)
	}
	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver, Strict: strict, Now: func() time.Time { return credoTime }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCredoOpens opens what Credo packed, with the recorded documents and with documents that
// come from the DIDs.
func TestCredoOpens(t *testing.T) {
	for _, r := range recordings(t) {
		if r.Packed == nil {
			continue
		}
		for name, resolver := range map[string]did.Resolver{"documents": r.resolver(t), "methods": byMethod} {
			t.Run(r.Name+"/"+name, func(t *testing.T) {
				u, err := r.packer(t, resolver, false, r.Secrets).Unpack(t.Context(), r.Packed)
				if (err == nil) != r.Expected.Accept {
					t.Fatalf("%s: %v", r.What, err)
				}
				r.check(t, u)
				strict, err := r.packer(t, resolver, true, r.Secrets).Unpack(t.Context(), r.Packed)
				want := credoDeviations[r.Name]
				var deviates *envelope.DeviationError
				switch {
				case len(want) == 0 && err != nil:
					t.Errorf("strict: %v", err)
				case len(want) == 0:
					r.check(t, strict)
				case !errors.As(err, &deviates) || strict != nil:
					t.Errorf("strict: %v, want a refusal for %v", err, want)
				}
			})
		}
	}
}

// check holds what was opened to each member of Expected.
func (r *credoRecording) check(t *testing.T, u *envelope.Unpacked) {
	t.Helper()
	e, m, md := r.Expected, u.Message, u.Metadata
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	same("type", m.Type, e.Type)
	same("id", m.ID, e.MessageID)
	same("from", m.From, e.From)
	same("thid", m.ThreadID, e.ThreadID)
	same("pthid", m.ParentThreadID, e.ParentID)
	got, err := m.Append(nil)
	if err == nil {
		err = sameJSON(r.Plaintext, got)
	}
	if err != nil {
		t.Error(err)
	}

	signed := strings.Contains(r.Name, "signed")
	same("encrypted", md.Encrypted, e.Protection != "signed")
	same("authenticated", md.Authenticated, e.Protection == "authcrypt" || signed)
	same("non_repudiation", md.NonRepudiation, signed)
	same("anonymous_sender", md.AnonymousSender, e.Protection == "anoncrypt")
	same("enc", md.EncAlgAuth+md.EncAlgAnon, e.Enc)
	switch e.Protection {
	case "signed":
		same("sender", md.SignFrom, e.SenderKID)
	default:
		same("sender", md.EncryptedFromKID, e.SenderKID)
		same("recipients", md.EncryptedToKIDs, []string{e.RecipientKID})
		same("alg", r.alg(t), e.Alg)
	}
	same("deviations", codes(md.Deviations), credoDeviations[r.Name])
	if e.FromPrior == nil {
		same("from_prior", md.FromPrior, (*envelope.FromPrior)(nil))
	} else {
		p := e.FromPrior
		same("from_prior", md.FromPrior, &envelope.FromPrior{Iss: p.Iss, Sub: p.Sub, IssuedAt: time.Unix(p.Iat, 0).UTC()})
		head, _, _ := strings.Cut(m.FromPrior, ".")
		header, err := base64.RawURLEncoding.DecodeString(head)
		if err == nil {
			err = sameJSON(p.Header, header)
		}
		if err != nil {
			t.Errorf("header of from_prior: %v", err)
		}
	}
	if r.MediaType != "" {
		typ, err := transport.ParseMediaType(r.MediaType)
		if err != nil || typ != transport.MediaTypeEncrypted {
			t.Errorf("media type %q: %q, %v", r.MediaType, typ, err)
		}
	}
}

// codes are the codes of deviations, each once.
func codes(list []message.Deviation) []message.DeviationCode {
	set := map[message.DeviationCode]bool{}
	for _, d := range list {
		set[d.Code] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// alg returns the key agreement in the protected header.
func (r *credoRecording) alg(t *testing.T) string {
	t.Helper()
	var jwe struct {
		Protected string `json:"protected"`
	}
	var header struct {
		Alg string `json:"alg"`
	}
	err := json.Unmarshal(r.Packed, &jwe)
	data, decodeErr := base64.RawURLEncoding.DecodeString(jwe.Protected)
	if err := cmp.Or(err, decodeErr, json.Unmarshal(data, &header)); err != nil {
		t.Fatal(err)
	}
	return header.Alg
}

// sameJSON compares two JSON objects, member by member.
func sameJSON(want, got []byte) error {
	w, err := members(want)
	if err != nil {
		return err
	}
	g, err := members(got)
	if err != nil {
		return err
	}
	return sameMembers(w, g)
}

// Nothing in a message is lost if it is read and written.
func TestCredoRoundTrip(t *testing.T) {
	for _, r := range recordings(t) {
		m, deviations, err := message.Parse(r.Plaintext)
		if err != nil || deviations != nil {
			t.Errorf("%s: %v, %v", r.Name, deviations, err)
			continue
		}
		got, err := m.Append(nil)
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		// The body is always written.
		if err := sameJSON(r.Plaintext, got); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

// TestCredoDIDs resolves the DIDs to the keys and endpoints that the recorded documents have.
func TestCredoDIDs(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			for _, data := range r.Documents {
				want, err := did.ParseDocument(data)
				if err != nil {
					t.Fatal(err)
				}
				got, err := byMethod.Resolve(t.Context(), want.ID)
				if err != nil {
					t.Errorf("%s: %v", want.ID, err)
					continue
				}
				for what, of := range map[string]func(*did.Document) []*did.VerificationMethod{
					"authentication": (*did.Document).AuthenticationKeys, "keyAgreement": (*did.Document).KeyAgreementKeys,
				} {
					if g, w := publicKeys(t, of(got)), publicKeys(t, of(want)); !slices.Equal(g, w) {
						t.Errorf("%s of %s: got %q, want %q", what, want.ID, g, w)
					}
				}
				if len(want.KeyAgreementKeys()) == 0 {
					t.Errorf("%s has no keys", want.ID)
				}
				if g, w := got.DIDCommServices(), want.DIDCommServices(); !reflect.DeepEqual(g, w) {
					t.Errorf("services of %s: got %v, want %v", want.ID, g, w)
				}
			}
		})
	}
}

// publicKeys returns the id and the multikey of each key.
func publicKeys(t *testing.T, methods []*did.VerificationMethod) []string {
	t.Helper()
	var all []string
	for _, m := range methods {
		key, err := m.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		multikey, err := did.FormatMultikey(key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.ID+" "+multikey)
	}
	return all
}

// An invitation is read from its URL, and its DID leads to an endpoint.
func TestCredoInvitations(t *testing.T) {
	seen := 0
	for _, r := range recordings(t) {
		if r.Packed != nil {
			continue
		}
		seen++
		t.Run(r.Name, func(t *testing.T) {
			if r.URL != "" {
				u, err := url.Parse(r.URL)
				if err != nil {
					t.Fatal(err)
				}
				data, err := base64.RawURLEncoding.DecodeString(u.Query().Get("_oob"))
				if err != nil {
					t.Fatal(err)
				}
				if err := sameJSON(r.Plaintext, data); err != nil {
					t.Error(err)
				}
			}
			m, deviations, err := message.Parse(r.Plaintext)
			if err != nil || deviations != nil {
				t.Fatal(err, deviations)
			}
			if r.Expected.From != "" && m.From != r.Expected.From {
				t.Errorf("from %s", m.From)
			}
			routes, err := r.packer(t, byMethod, false, nil).Routes(t.Context(), m.From)
			if err != nil || len(routes) == 0 || !strings.Contains(routes[0].URI, "://") {
				t.Fatal(err, routes)
			}
			var hop string
			if keys := routes[0].RoutingKeys; len(keys) > 0 {
				hop = did.Base(keys[0])
			}
			if hop != r.Expected.NextHop {
				t.Errorf("next hop %s", hop)
			}
		})
	}
	if seen != 5 {
		t.Errorf("%d invitations", seen)
	}
}
