package cli

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func (a *app) inspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect [FILE]",
		Short: "show the layers of an envelope and their headers, without keys",
		Long: `Inspect shows the layers of a DIDComm message and their headers, without any
key: of an encrypted message its outermost layer, of a signed one also what is
inside. Notes say where it departs from what DIDComm v2.1 says to send. It
verifies nothing; unpack does.

FILE is a plaintext message, a JWS or a JWE in any serialization; "-" or none
is standard input.`,
		Example: `  didcomm inspect envelope.json
  didcomm pack --to did:key:z6Mk... message.json | didcomm inspect --json`,
		Args: positional("[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := a.input(args)
			if err != nil {
				return err
			}
			all, err := layers(data)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"layers": all})
			}
			for i, l := range all {
				writeLayer(cmd.OutOrStdout(), i+1, l)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"layers": [...]} as JSON`)
	return cmd
}

func writeLayer(w io.Writer, n int, l layer) {
	field := func(name string, value any) { fmt.Fprintf(w, "   %-14s %s\n", name, printable(fmt.Sprint(value))) }
	headers := func(prefix string, v jsontext.Value) {
		if v == nil {
			return
		}
		dec := jsontext.NewDecoder(bytes.NewReader(v))
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
			field(prefix+key, text)
		}
	}

	switch l.Kind {
	case "encrypted":
		fmt.Fprintf(w, "%d. encrypted: JWE, %s, %d bytes\n", n, l.Serialization, l.Bytes)
		headers("", l.Protected)
		headers("unprotected ", l.Unprotected)
		for _, r := range l.Recipients {
			headers("recipient ", r)
		}
		field("ciphertext", fmt.Sprintf("%d bytes, closed without the recipient's key", l.ContentBytes))
	case "signed":
		fmt.Fprintf(w, "%d. signed: JWS, %s, %d bytes\n", n, l.Serialization, l.Bytes)
		for _, s := range l.Signatures {
			headers("", s.Protected)
			headers("", s.Header)
		}
		field("payload", fmt.Sprintf("%d bytes, signature not verified", l.ContentBytes))
	default:
		fmt.Fprintf(w, "%d. plaintext: %d bytes\n", n, l.Bytes)
		headers("", l.Headers)
		field("body", fmt.Sprintf("%d bytes", l.ContentBytes))
	}
	for _, note := range l.Notes {
		field("note:", note)
	}
}
