package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxInput is the largest size of a file that a command reads, in bytes. It leaves room for
// the largest message that the library opens.
const maxInput = 64 << 20

// input reads the file args[0]. It reads standard input if args is empty or args[0] is "-".
func (a *app) input(args []string) ([]byte, error) {
	if len(args) == 0 || args[0] == "-" {
		return readAll(a.Stdin, "standard input")
	}
	return readFile(args[0])
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path)
}

func readAll(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxInput:
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxInput>>20)
	case len(strings.TrimSpace(string(data[:min(len(data), 64)]))) == 0 && len(strings.TrimSpace(string(data))) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	return data, nil
}

// writeJSON writes v indented, with a newline.
func writeJSON(w io.Writer, v any) error {
	data, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// printable escapes all characters of s that a terminal would not print: the text of a peer
// must not move the cursor or ring the bell.
func printable(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }
