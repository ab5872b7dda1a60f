package envelope_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// FuzzUnpack opens any bytes. With an error there must be no result. A result must be a message
// that can be written. A message that strict mode opens must open in tolerant mode, too.
func FuzzUnpack(f *testing.F) {
	for _, folder := range []string{"didcomm-v2.1", "peers"} {
		files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
		if err != nil || len(files) == 0 {
			f.Fatal("no vectors", err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	alice, bob := appendixPacker(f, "alice"), appendixPacker(f, "bob")
	m := newMessage(f, nil)
	m.From, m.To = aliceDID, []string{bobDID}
	for _, opts := range [][]envelope.PackOption{
		{envelope.From(aliceDID)},
		{envelope.From(aliceDID), envelope.ProtectSender(), envelope.ContentEncryption(envelope.XC20P)},
		{envelope.To(bobDID + "#key-p256-1"), envelope.SignBy(aliceDID)},
		{envelope.SignBy(aliceDID+"#key-3", aliceDID+"#key-2"), envelope.Signed()},
	} {
		e := pack1(f, alice, m, opts...)
		f.Add(e.Data)
		if e.To != "" {
			e, err := alice.Forward(f.Context(), e, []string{bobDID})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(e.Data)
		}
	}
	f.Add([]byte("eyJhbGciOiJFQ0RILUVTK0EyNTZLVyJ9.AA.AA.AA.AA"))
	f.Add([]byte("eyJhbGciOiJFZERTQSJ9.e30.AA"))
	config := envelope.Config{Keys: appendixKeys(f, "bob"), Resolver: appendixDocuments(f), Strict: true}
	strict := newPacker(f, config)
	recipient, err := appendixDocuments(f)[bobDID].KeyAgreementKeys()[0].ECDH()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// As the inner layer, too, where every change of it gets past the tag.
		inner := peerJWE{plaintext: data, to: []peerRecipient{{bobDID + "#key-x25519-1", recipient}}}.seal(t)
		if u, err := bob.Unpack(t.Context(), inner); (err == nil) != (u != nil) {
			t.Fatalf("inside of anoncrypt: %v, %v", u, err)
		}
		before := bytes.Clone(data)
		u, err := bob.Unpack(t.Context(), data)
		if !bytes.Equal(before, data) {
			t.Fatal("the input was changed")
		}
		s, strictErr := strict.Unpack(t.Context(), data)
		if (err == nil) != (u != nil) || (strictErr == nil) != (s != nil) {
			t.Fatalf("%v, %v; strict %v, %v", u, err, s, strictErr)
		}
		if err != nil {
			if strictErr == nil {
				t.Fatalf("strict opens what is refused with %v", err)
			}
			if errors.Is(err, envelope.ErrDecrypt) && !strings.HasSuffix(err.Error(), "cannot decrypt") {
				t.Fatalf("the error says too much: %v", err)
			}
			return
		}
		if (len(u.Metadata.Deviations) == 0) != (strictErr == nil) {
			t.Fatalf("deviations %v, strict: %v", u.Metadata.Deviations, strictErr)
		}
		if _, err := u.Message.Append(nil); err != nil {
			t.Fatalf("opened, but cannot be written: %v", err)
		}
		if s != nil && !reflect.DeepEqual(u.Metadata, s.Metadata) {
			t.Fatalf("metadata %+v, strict %+v", u.Metadata, s.Metadata)
		}
	})
}

// FuzzFromPrior: no text passes for a rotation that Alice did not sign.
func FuzzFromPrior(f *testing.F) {
	alice, bob := appendixPacker(f, "alice"), appendixPacker(f, "bob")
	const next = "did:example:next"
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	signed := map[string]bool{}
	for _, kid := range []string{"", "#key-2", "#key-3"} {
		jwt, err := alice.FromPrior(f.Context(), aliceDID+kid, next, at)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(jwt)
		header, _, _ := strings.Cut(jwt, ".")
		signed[header+"."+strings.Split(jwt, ".")[1]] = true
	}
	f.Add(string(readFile(f, "signed-eddsa.json")))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	m := newMessage(f, nil)
	m.From, m.To = next, []string{bobDID}
	f.Fuzz(func(t *testing.T, jwt string) {
		if jwt == "" {
			return // no from_prior
		}
		m := *m
		m.FromPrior = jwt
		sealed, err := alice.Pack(t.Context(), &m)
		if err != nil {
			return // no UTF-8
		}
		u, err := bob.Unpack(t.Context(), sealed[0].Data)
		if err != nil {
			if !errors.Is(err, envelope.ErrFromPrior) || u != nil {
				t.Fatalf("%v, %v", u, err)
			}
			return
		}
		parts := strings.Split(strings.TrimSpace(jwt), ".")
		if len(parts) != 3 || !signed[parts[0]+"."+parts[1]] || u.Metadata.FromPrior.Iss != aliceDID {
			t.Fatalf("%q passes: %+v", jwt, u.Metadata.FromPrior)
		}
	})
}
