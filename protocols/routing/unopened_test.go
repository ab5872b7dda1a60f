package routing_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
)

// An envelope that Credo sends without a forward is kept for the recipient that its kid names.
func TestBareCredo(t *testing.T) {
	r := credo(t, "basicmessage-2.0-inside-forward")
	var packed bytes.Buffer
	for _, line := range bytes.Split(r.Packed, []byte("\n")) {
		packed.Write(bytes.TrimLeft(line, " "))
	}
	e := envelope.Envelope{MediaType: "application/didcomm-envelope-enc", Data: packed.Bytes()}
	_, kid, _ := strings.Cut(packed.String(), `"kid": "`)
	kid, _, _ = strings.Cut(kid, `"`)
	owner, _, _ := strings.Cut(kid, "#")

	o := newOffice(t, agenttest.NewNet())
	if a := o.post(t, e); a.status != http.StatusBadRequest || len(a.body) == 0 {
		t.Errorf("before: status %d: %s", a.status, a.body)
	}
	o.enroll(t, owner)
	for range 2 {
		if a := o.post(t, e); a.status != http.StatusAccepted || len(a.body) > 0 {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	o.wantMail(t, owner, e.Data)
}

// jwe returns an envelope for keys with these ids.
func jwe(kids ...string) envelope.Envelope {
	var recipients []string
	for _, kid := range kids {
		recipients = append(recipients, fmt.Sprintf(`{"header":{"kid":%q},"encrypted_key":"AAAA"}`, kid))
	}
	const protected = "eyJ0eXAiOiJhcHBsaWNhdGlvbi9kaWRjb21tLWVuY3J5cHRlZCtqc29uIiwiYWxnIjoiRUNESC1FUytBMjU2S1ciLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwiYXB2IjoiWllVQ0ZuMl8yNDRhN3UtOTQzd2F5a1pMWjk1MXl6MXNJTUZ6a1dXWFVsWSIsImVwayI6eyJrdHkiOiJPS1AiLCJjcnYiOiJYMjU1MTkiLCJ4IjoiVm1udlB2SmNfTTJvZ1FZYi1aeEIxd1Z2cFNVQjBPSEVKRmlUa2tNV0YyUSJ9fQ"
	return envelope.Envelope{MediaType: envelope.MediaTypeEncrypted, Data: []byte(`{"protected":"` + protected + `","recipients":[` + strings.Join(recipients, ",") +
		`],"iv":"FCr6vyQ-OFbo-v1Yw7Y7DA","ciphertext":"AAAAAAAAAAAAAAAAAAAAAA","tag":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`)}
}

// A bare envelope is kept for each of the recipients that are clients, if there are a few.
func TestBare(t *testing.T) {
	bob, carol := agenttest.NewParty(t), agenttest.NewParty(t)
	signing, agreement := didKeys(t)
	var strangers []string
	for i := range 100 {
		strangers = append(strangers, fmt.Sprintf("did:example:%d#1", i))
	}
	for name, test := range map[string]struct {
		kids    []string
		blocked string
		bob     bool
		carol   bool
	}{
		"one":                {kids: []string{bob.DID + "#key-2"}, bob: true},
		"several keys":       {kids: []string{bob.DID + "#key-1", bob.DID + "#key-2"}, bob: true},
		"several owners":     {kids: []string{bob.DID + "#key-2", carol.DID + "#key-2"}, bob: true, carol: true},
		"one is a stranger":  {kids: []string{strangers[0], carol.DID + "#key-2"}, carol: true},
		"one is blocked":     {kids: []string{bob.DID + "#key-2", carol.DID + "#key-2"}, blocked: bob.DID, carol: true},
		"a did:key":          {kids: []string{agreement}, bob: true},
		"a did:key, X#X":     {kids: []string{fragment(agreement)}, bob: true},
		"nobody":             {kids: strangers[:1]},
		"blocked":            {kids: []string{bob.DID + "#key-2"}, blocked: bob.DID},
		"after many":         {kids: append(strangers[:20:20], bob.DID+"#key-2")},
		"relative":           {kids: []string{"#key-2"}},
		"without a fragment": {kids: []string{bob.DID}, bob: true},
		"long":               {kids: []string{"did:example:" + strings.Repeat("a", 1<<20) + "#1"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, agenttest.NewNet())
			o.enroll(t, bob.DID)
			o.enroll(t, carol.DID)
			if _, err := o.Register(t.Context(), bob.DID, signing, true); err != nil {
				t.Fatal(err)
			}
			if test.blocked != "" {
				if err := o.Block(t.Context(), test.blocked); err != nil {
					t.Fatal(err)
				}
			}
			e := jwe(test.kids...)
			want := http.StatusBadRequest
			if test.bob || test.carol {
				want = http.StatusAccepted
			}
			if a := o.post(t, e); a.status != want {
				t.Errorf("status %d: %s", a.status, a.body)
			}
			if test.blocked != "" {
				if err := o.Unblock(t.Context(), test.blocked); err != nil {
					t.Fatal(err)
				}
			}
			for id, kept := range map[string]bool{bob.DID: test.bob, carol.DID: test.carol} {
				var packets [][]byte
				if kept {
					packets = append(packets, e.Data)
				}
				o.wantMail(t, id, packets...)
			}
		})
	}
}

// An envelope that is for us as well is no mail, even if we cannot open it.
func TestBareForUs(t *testing.T) {
	o, bob := newOffice(t, agenttest.NewNet()), agenttest.NewParty(t)
	o.enroll(t, bob.DID)
	if a := o.post(t, jwe(o.DID()+"#key-2", bob.DID+"#key-2")); a.status != http.StatusBadRequest {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	o.wantMail(t, bob.DID)
}
