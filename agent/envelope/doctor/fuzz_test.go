package doctor_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/did"
)

// FuzzExamine examines any bytes, alone and inside anoncrypt. If Unpack refuses a message, there
// must be a finding of severity Error. If Unpack tolerates a deviation, there must be a finding
// with its code.
func FuzzExamine(f *testing.F) {
	for _, folder := range []string{vectors, filepath.Join("..", "testdata", "peers")} {
		files, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil || len(files) == 0 {
			f.Fatal(err, files)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, tt := range deviating() {
		if len(tt.data) < 1<<16 {
			f.Add([]byte(tt.data))
		}
	}
	rules := map[string]bool{}
	for _, r := range doctor.Rules() {
		rules[r.Code] = true
	}
	docs := appendixDocuments(f)
	bobs := packer(f, "bob", docs)
	key := docs[bob].KeyAgreementKeys()[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := bobs.Unpack(t.Context(), data)
		bad := len(doctor.Examine(data).AtLeast(doctor.Error)) > 0
		if err != nil && !bad && !needsKeys(err) {
			t.Errorf("Unpack: %v, but no finding is an error", err)
		}
		for _, data := range [][]byte{data, sealFor(t, key, data)} {
			u, err := bobs.Unpack(t.Context(), data)
			r := doctor.Open(t.Context(), bobs, data)
			if (err == nil) != (r.Metadata != nil) {
				t.Errorf("Unpack: %v, metadata %v", err, r.Metadata)
			}
			if err != nil && len(r.AtLeast(doctor.Error)) == 0 {
				t.Errorf("Unpack: %v, but no finding is an error", err)
			}
			found := map[string]bool{}
			for _, f := range r.Findings {
				found[f.Code] = true
				if !rules[f.Code] || f.Layer > len(r.Layers) {
					t.Errorf("finding %+v of %d layers", f, len(r.Layers))
				}
			}
			if u != nil {
				for _, d := range u.Metadata.Deviations {
					if !found[string(d.Code)] {
						t.Errorf("no finding for %s", d.Code)
					}
				}
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		}
	})
}

// needsKeys tells whether it takes a key or a document to refuse.
func needsKeys(err error) bool {
	for _, class := range []error{
		envelope.ErrNoKey, envelope.ErrDecrypt, envelope.ErrSignature, envelope.ErrSenderMismatch, envelope.ErrSignerMismatch,
		envelope.ErrRecipientMismatch, envelope.ErrFromPrior, envelope.ErrInvalidPoint, envelope.ErrUnsupportedAlg,
		did.ErrNotFound, did.ErrMethod, did.ErrInvalid, did.ErrUnsupported,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}
