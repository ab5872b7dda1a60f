package cli_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/cli"
)

// run runs a command line and returns the status and what it printed.
func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, talk bytes.Buffer
	status = cli.Main(args, cli.IO{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &talk, LookupEnv: noEnv})
	return status, out.String(), talk.String()
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

const plaintext = `{"id":"1","type":"https://example.org/p/1.0/x","body":{}}`

// Notes tell where an envelope departs from what DIDComm v2.1 says to send; its
// own are without any.
func TestInspectNotes(t *testing.T) {
	const typ = `"typ":"application/didcomm-encrypted+json"`
	const epk = `"epk":{"kty":"OKP","crv":"X25519","x":"AA"}`
	apv := `"apv":"` + "NcsuAnrRfPK69A-rkZ0L9XWUG4jMvNC3Zg74BPz53PA" + `"` // of Bob's three X25519 keys
	kids := `[{"header":{"kid":"did:example:bob#key-x25519-1"}},{"header":{"kid":"did:example:bob#key-x25519-2"}},{"header":{"kid":"did:example:bob#key-x25519-3"}}]`
	jwe := func(header, recipients string) string {
		return `{"protected":"` + b64("{"+header+"}") + `","iv":"AA","tag":"AA","ciphertext":"AAAA","recipients":` + recipients + `}`
	}
	es := `"alg":"ECDH-ES+A256KW","enc":"XC20P",`
	pu := `"alg":"ECDH-1PU+A256KW","enc":"A256CBC-HS512",`
	for name, tt := range map[string]struct{ data, note string }{
		"as it should be":        {jwe(es+typ+","+apv+","+epk, kids), ""},
		"apv missing":            {jwe(es+typ+","+epk, kids), "apv is missing"},
		"apv of others":          {jwe(es+typ+`,"apv":"AA",`+epk, kids), "apv is not the hash"},
		"typ missing":            {jwe(es+apv+","+epk, kids), "typ is missing"},
		"typ short":              {jwe(es+`"typ":"didcomm-encrypted+json",`+apv+","+epk, kids), `typ is "didcomm-encrypted+json"`},
		"epk a string":           {jwe(es+typ+","+apv+`,"epk":"{}"`, kids), "epk is a string"},
		"epk missing":            {jwe(es+typ+","+apv, kids), "epk is missing"},
		"epk of the recipient":   {jwe(es+typ+","+apv, `[{"header":{"kid":"did:example:bob#key-1","epk":{}}}]`), "epk stands in a recipient's header"},
		"alg of the recipient":   {jwe(`"enc":"XC20P",`+typ+","+apv+","+epk, `[{"header":{"kid":"did:example:bob#key-1","alg":"ECDH-ES+A256KW"}}]`), "alg stands in a recipient's header"},
		"several DIDs":           {jwe(es+typ+","+apv+","+epk, `[{"header":{"kid":"did:example:a#1"}},{"header":{"kid":"did:example:b#1"}}]`), "several DIDs"},
		"unsorted":               {jwe(es+typ+","+apv+","+epk, `[{"header":{"kid":"did:example:a#2"}},{"header":{"kid":"did:example:a#1"}}]`), "not sorted"},
		"kid of a key store":     {jwe(es+typ+","+apv+","+epk, `[{"header":{"kid":"42"}}]`), `kid "42" is no DID URL`},
		"skid missing":           {jwe(pu+typ+","+apv+","+epk+`,"apu":"`+b64("did:example:a#1")+`"`, kids), "skid is missing; the sender stands in apu only: did:example:a#1"},
		"apu missing":            {jwe(pu+typ+","+apv+","+epk+`,"skid":"did:example:a#1"`, kids), "apu is missing"},
		"apu of another":         {jwe(pu+typ+","+apv+","+epk+`,"skid":"did:example:a#1","apu":"`+b64("did:example:b#1")+`"`, kids), "skid and apu name different senders"},
		"padded":                 {strings.Replace(jwe(es+typ+","+apv+","+epk, kids), `"iv":"AA"`, `"iv":"AA=="`, 1), "iv is padded"},
		"compact JWE":            {b64("{"+es+typ+`,"kid":"did:example:bob#1",`+apv+","+epk+"}") + ".AA.AA.AAAA.AA", "compact serialization"},
		"flattened JWS":          {`{"payload":"` + b64(plaintext) + `","protected":"` + b64(`{"typ":"application/didcomm-signed+json","alg":"EdDSA"}`) + `","signature":"AA","header":{"kid":"did:example:a#1"}}`, "flattened JSON serialization"},
		"JWS without kid":        {`{"payload":"` + b64(plaintext) + `","signatures":[{"protected":"` + b64(`{"typ":"application/didcomm-signed+json"}`) + `","signature":"AA"}]}`, "no kid says whose"},
		"JWS of two kids":        {`{"payload":"` + b64(plaintext) + `","signatures":[{"protected":"` + b64(`{"typ":"application/didcomm-signed+json","kid":"a"}`) + `","header":{"kid":"b"},"signature":"AA"}]}`, "the protected and the unprotected kid differ"},
		"milliseconds":           {`{"id":"1","type":"https://example.org/p/1.0/x","created_time":1700000000000,"body":{}}`, "time"},
		"plaintext without body": {`{"id":"1","type":"https://example.org/p/1.0/x"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, stderr := run(tt.data, "inspect", "--json")
			if status != 0 {
				t.Fatalf("status %d: %s", status, stderr)
			}
			var got struct {
				Layers []struct {
					Notes []string `json:"notes"`
				} `json:"layers"`
			}
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			var notes []string
			for _, l := range got.Layers {
				notes = append(notes, l.Notes...)
			}
			if all := strings.Join(notes, "\n"); tt.note == "" && all != "" || !strings.Contains(all, tt.note) {
				t.Errorf("notes %q, want %q", all, tt.note)
			}
			_, text, _ := run(tt.data, "inspect")
			if !strings.Contains(text, tt.note) {
				t.Errorf("text does not have the note %q:\n%s", tt.note, text)
			}
		})
	}
}

func TestInspectErrors(t *testing.T) {
	nested := plaintext
	for range 20 {
		nested = `{"payload":"` + b64(nested) + `","signatures":[]}`
	}
	for name, tt := range map[string]struct{ data, want string }{
		"nothing":        {" \n", "standard input is empty"},
		"not JSON":       {"{", "bad JSON at byte 1"},
		"neither":        {"hello", "neither JSON nor a compact JWE or JWS"},
		"a number":       {`{"ciphertext":1}`, `at "/ciphertext"`},
		"duplicate":      {`{"payload":"AA","payload":"AA"}`, "duplicate"},
		"not base64":     {`{"ciphertext":"%"}`, "ciphertext is not base64url"},
		"header no JSON": {`{"ciphertext":"AA","protected":"AA"}`, "protected header: bad JSON"},
		"empty payload":  {`{"payload":"","signatures":[]}`, "an empty layer"},
		"no message":     {`{}`, "no id"},
		"nested deep":    {nested, "more than 8 layers"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, stderr := run(tt.data, "inspect")
			if status != 1 || out != "" || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("status %d, stdout %q, stderr %q; want one line with %q", status, out, stderr, tt.want)
			}
		})
	}
}

// Whatever comes, inspect says what it is or fails with one line.
func FuzzInspect(f *testing.F) {
	files, err := filepath.Glob("../../../agent/envelope/testdata/didcomm-v2.1/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("e30.AA.AA")
	f.Add("e30.AA.AA.AA.AA")
	f.Fuzz(func(t *testing.T, data string) {
		status, out, stderr := run(data, "inspect")
		jsonStatus, jsonOut, _ := run(data, "inspect", "--json")
		if status != jsonStatus {
			t.Errorf("status %d as text, %d as JSON", status, jsonStatus)
		}
		switch {
		case status == 0 && (out == "" || stderr != "" || !json.Valid([]byte(jsonOut))):
			t.Errorf("status 0, stdout %q, stderr %q, JSON %q", out, stderr, jsonOut)
		case status == 1 && (out != "" || strings.Count(stderr, "\n") != 1):
			t.Errorf("status 1, stdout %q, stderr %q", out, stderr)
		case status > 1:
			t.Errorf("status %d: %s", status, stderr)
		}
	})
}
