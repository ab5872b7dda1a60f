package interop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
)

// sameMessage compares what was opened with what was sent, value by value. What
// the libraries add by right is passed over: the media type, thid where it was
// absent (it is id then), ids of attachments. from_prior is compared apart.
func sameMessage(sent, opened []byte) error {
	want, err := members(sent)
	if err != nil {
		return err
	}
	got, err := members(opened)
	if err != nil {
		return fmt.Errorf("opened message: %w", err)
	}
	if typ, ok := got["typ"]; ok && typ != message.MediaType && typ != want["typ"] {
		return fmt.Errorf("typ is %v", typ)
	}
	for _, m := range []map[string]any{want, got} {
		delete(m, "typ")
		delete(m, "from_prior")
	}
	if _, ok := want["thid"]; !ok && got["thid"] == want["id"] {
		delete(got, "thid")
	}
	sentAttachments, _ := want["attachments"].([]any)
	attachments, _ := got["attachments"].([]any)
	for i := range min(len(attachments), len(sentAttachments)) {
		w, _ := sentAttachments[i].(map[string]any)
		g, _ := attachments[i].(map[string]any)
		if _, ok := w["id"]; !ok {
			if id, _ := g["id"].(string); id != "" {
				delete(g, "id")
			}
		}
	}
	return sameMembers(want, got)
}

func members(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m map[string]any
	err := d.Decode(&m)
	return m, err
}

func sameMembers(want, got map[string]any) error {
	for name, value := range want {
		if !reflect.DeepEqual(value, got[name]) {
			return fmt.Errorf("%s: got %#v, sent %#v", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("%s: %#v was not sent", name, value)
		}
	}
	return nil
}

// sameMetadata compares what was reported of an envelope with what it was.
// Deviations are compared apart; Signers, and the order of recipients, are ours.
func sameMetadata(want, got envelope.Metadata) error {
	for _, m := range []*envelope.Metadata{&want, &got} {
		m.Signers, m.Deviations, m.FromPrior = nil, nil, nil
		m.EncryptedToKIDs = slices.Sorted(slices.Values(m.EncryptedToKIDs))
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("metadata: got %+v, want %+v", got, want)
	}
	return nil
}

// The comparison takes what the libraries add by right and nothing else.
func TestSameMessage(t *testing.T) {
	sent := `{"id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}]}`
	for _, tt := range []struct {
		opened string
		same   bool
	}{
		{sent, true},
		{`{"typ":"application/didcomm-plain+json","thid":"1","id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"id":"x","data":{"json":1}}]}`, true},
		{`{"typ":"application/json","id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"thid":"2","id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[2,1]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2.0]},"attachments":[{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2]}}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}},{"data":{"json":1}}]}`, false},
		{`{"id":"1","type":"t","body":{"a":[1,2]},"attachments":[{"data":{"json":1}}],"lang":"de"}`, false},
		{`[]`, false},
	} {
		if err := sameMessage([]byte(sent), []byte(tt.opened)); (err == nil) != tt.same {
			t.Errorf("%s: %v", tt.opened, err)
		}
	}
}
