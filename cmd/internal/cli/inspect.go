package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func (a *app) inspect() *cobra.Command {
	var s sealing
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect [FILE]",
		Short: "explain an envelope, and what is wrong with it, without keys",
		Long: `Inspect shows the layers of a DIDComm message with their headers, and lists what is
wrong with them. Each finding has a code that does not change, a severity (error,
warning or info), the clause of the specification, and the fix.

Without keys, inspect sees the outermost layer of an encrypted message, and all
layers of a signed one. It verifies nothing. With --secrets or --did-docs it opens
the message as well: it examines the content, or says why the message does not
open.

If a finding is an error, the exit status is 1, and the output is complete all the
same.

FILE is a plaintext message, a JWS or a JWE in any serialization; "-" or none is
standard input.`,
		Example: `  didcomm inspect envelope.json
  didcomm inspect --secrets bob.json --json envelope.json
  didcomm pack --to did:key:z6Mk... message.json | didcomm inspect --json`,
		Args: positional("[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := a.input(args)
			if err != nil {
				return err
			}
			report, err := s.examine(cmd.Context(), a, data)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), report)
			} else {
				writeReport(cmd.OutOrStdout(), report)
			}
			if err != nil {
				return err
			}
			return verdict(report)
		},
	}
	s.addFlags(cmd)
	cmd.Flags().Lookup("secrets").Usage = "open with the private keys of this file: a JSON array of JWKs, or a JWK Set; the kid of a key is its DID URL"
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"layers", "findings", "metadata"}; "metadata" only if the message was opened`)
	return cmd
}

// examine opens the message if the user gave keys or documents.
func (s *sealing) examine(ctx context.Context, a *app, data []byte) (*doctor.Report, error) {
	if s.secrets == "" && s.docs == "" {
		return doctor.Examine(data), nil
	}
	var report *doctor.Report
	err := s.with(ctx, a, false, envelope.Config{}, func(ctx context.Context, packer *envelope.Packer) error {
		report = doctor.Open(ctx, packer, bytes.TrimSpace(data))
		return nil
	})
	return report, err
}

// verdict returns a verdictError if a finding has the severity error.
func verdict(r *doctor.Report) error {
	var codes []string
	for _, f := range r.AtLeast(doctor.Error) {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	if codes == nil {
		return nil
	}
	return &verdictError{fmt.Errorf("found %s", strings.Join(codes, ", "))}
}

func writeReport(w io.Writer, r *doctor.Report) {
	for i, l := range r.Layers {
		writeLayer(w, i+1, l)
	}
	if m := r.Metadata; m != nil {
		fmt.Fprintf(w, "opened: %s\n", printable(protection(m)))
	}
	for _, f := range r.Findings {
		writeFinding(w, f, len(r.Layers) > 1)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "no findings")
	}
}

// protection says how an opened message was protected.
func protection(m *envelope.Metadata) string {
	var parts []string
	if m.Encrypted {
		parts = append(parts, "encrypted")
	}
	if m.EncryptedFromKID != "" {
		parts = append(parts, "sender proven: "+m.EncryptedFromKID)
	}
	if m.SignFrom != "" {
		parts = append(parts, "signature verified: "+m.SignFrom)
	}
	if !m.Authenticated {
		parts = append(parts, "sender not proven")
	}
	return strings.Join(parts, ", ")
}

func writeFinding(w io.Writer, f doctor.Finding, several bool) {
	fmt.Fprintf(w, "%s %s", f.Severity, f.Code)
	if several && f.Layer > 0 {
		fmt.Fprintf(w, " in layer %d", f.Layer)
	}
	fmt.Fprintf(w, ": %s\n", printable(f.Detail))
	writeField(w, "clause", f.Clause)
	fix := f.Fix
	if f.Value != "" {
		fix += " = " + f.Value
	}
	writeField(w, "fix", fix)
}

func writeLayer(w io.Writer, n int, l doctor.Layer) {
	serialization := l.Serialization
	if serialization == "" {
		serialization = "unreadable"
	}
	switch l.Kind {
	case doctor.Encrypted:
		fmt.Fprintf(w, "%d. encrypted: JWE, %s, %d bytes\n", n, serialization, l.Bytes)
		writeHeaders(w, "", l.Protected)
		if l.Sender != "" {
			writeField(w, "sender", l.Sender)
		}
		writeHeaders(w, "unprotected ", l.Unprotected)
		for _, r := range l.Recipients {
			if len(r.Header) == 0 {
				writeField(w, "recipient kid", r.KID)
			}
			writeHeaders(w, "recipient ", r.Header)
		}
		writeField(w, "ciphertext", fmt.Sprintf("%d bytes", l.ContentBytes))
	case doctor.Signed:
		fmt.Fprintf(w, "%d. signed: JWS, %s, %d bytes\n", n, serialization, l.Bytes)
		for _, s := range l.Signatures {
			writeHeaders(w, "", s.Protected)
			writeHeaders(w, "unprotected ", s.Header)
		}
		writeField(w, "payload", fmt.Sprintf("%d bytes", l.ContentBytes))
	default:
		fmt.Fprintf(w, "%d. plaintext: %d bytes\n", n, l.Bytes)
		writeHeaders(w, "", l.Headers)
		for _, at := range l.Attachments {
			writeField(w, "attachment", fmt.Sprintf("id %q, media type %q, %d bytes", at.ID, at.MediaType, at.Bytes))
		}
		writeField(w, "body", fmt.Sprintf("%d bytes", l.ContentBytes))
	}
}

func writeField(w io.Writer, name, value string) {
	fmt.Fprintf(w, "   %-14s %s\n", printable(name), printable(value))
}

// writeHeaders writes each member of a JSON object, strings without quotes.
func writeHeaders(w io.Writer, prefix string, object []byte) {
	if len(object) == 0 {
		return
	}
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return
		}
		key := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return
		}
		text := string(value)
		if value.Kind() == '"' {
			var s string
			if json.Unmarshal(value, &s) == nil {
				text = s
			}
		}
		writeField(w, prefix+key, text)
	}
}
