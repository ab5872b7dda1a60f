package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/cmd/internal/cli"
)

// run runs a command line and returns the status and what it printed.
func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, talk bytes.Buffer
	status = cli.Main(args, cli.IO{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &talk, LookupEnv: noEnv})
	return status, out.String(), talk.String()
}

const plaintext = `{"id":"1","type":"https://example.org/p/1.0/x","body":{}}`

// An envelope that is right is explained with status 0; one that is not, with 1,
// one line on standard error, and the same output as text or JSON.
func TestInspect(t *testing.T) {
	for name, tt := range map[string]struct {
		data   string
		status int
		text   []string
		stderr string
	}{
		"right": {
			`{"id":"1","type":"https://example.org/p/1.0/x","typ":"application/didcomm-plain+json","body":{}}`, 0,
			[]string{"1. plaintext: ", "   id             1\n", "no findings\n"}, "",
		},
		"a warning": {plaintext, 0, []string{"warning message-typ-missing: typ is missing\n", "   clause         DIDComm v2.1, DIDComm Plaintext Messages\n", " typ = application/didcomm-plain+json\n"}, ""},
		"an error": {
			`{"id":"1","type":"https://example.org/p/1.0/x","created_time":1700000000000,"body":{}}`, 1,
			[]string{"error time-milliseconds: created_time\n", "   fix ", " = 1700000000\n"}, "didcomm: inspect: found time-milliseconds\n",
		},
		"several":  {`{"ciphertext":"AA","iv":"AA","tag":"AA","protected":"e30","recipients":[{"header":{"kid":"did:example:a#1"}}]}`, 1, []string{"error alg-unsupported: ", "error apv-missing: "}, "didcomm: inspect: found alg-unsupported, enc-unsupported, epk-missing, apv-missing\n"},
		"not JSON": {"{", 1, []string{"1. plaintext: 1 bytes\n", "error message-malformed: "}, "didcomm: inspect: found message-malformed\n"},
		"neither":  {"hello", 1, []string{"error malformed: "}, "didcomm: inspect: found malformed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, stderr := run(tt.data, "inspect")
			if status != tt.status || stderr != tt.stderr {
				t.Errorf("status %d, stderr %q; want %d, %q", status, stderr, tt.status, tt.stderr)
			}
			for _, want := range tt.text {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			jsonStatus, jsonOut, jsonErr := run(tt.data, "inspect", "--json")
			if jsonStatus != status || jsonErr != stderr {
				t.Errorf("as JSON: status %d, stderr %q", jsonStatus, jsonErr)
			}
			var report doctor.Report
			if err := json.Unmarshal([]byte(jsonOut), &report); err != nil {
				t.Fatal(err)
			}
			for _, f := range report.Findings {
				if !strings.Contains(out, string(f.Severity)+" "+f.Code) || !strings.Contains(out, f.Fix) {
					t.Errorf("the text does not have %+v", f)
				}
			}
		})
	}
}

func TestInspectNothing(t *testing.T) {
	status, out, stderr := run(" \n", "inspect")
	if status != 1 || out != "" || stderr != "didcomm: inspect: standard input is empty\n" {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}

// Whatever comes, inspect says what it is; if it is bad, also in one line.
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
		empty := strings.TrimSpace(data) == ""
		switch {
		case (out == "" || !json.Valid([]byte(jsonOut))) && !empty:
			t.Errorf("stdout %q, JSON %q", out, jsonOut)
		case status == 0 && stderr != "", status == 1 && strings.Count(stderr, "\n") != 1:
			t.Errorf("status %d, stderr %q", status, stderr)
		case status > 1:
			t.Errorf("status %d: %s", status, stderr)
		}
	})
}
