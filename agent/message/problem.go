package message

import (
	"cmp"
	"strconv"
	"strings"
)

// maxText bounds Problem.Text: a short comment may name a long argument many
// times over.
const maxText = 16 << 10

// Problem is an error that a peer may see: the body of a problem report (section
// Problem Reports), and beside it the cause, which stays here. Its JSON form is
// that body.
type Problem struct {
	Code       string   `json:"code"`                  // see ParseCode; empty in a report that names none
	Comment    string   `json:"comment,omitempty"`     // fixed text for the code, with {1}, {2} for Args
	Args       []string `json:"args,omitempty"`        // an empty one stands for null
	EscalateTo string   `json:"escalate_to,omitempty"` // URI where help is found
	Err        error    `json:"-"`                     // the cause, for the log only
}

var _ error = (*Problem)(nil)

// NewProblem makes a problem whose comment is the one that the specification
// gives for the code's descriptor (see StandardComment). cause may be nil.
func NewProblem(code string, cause error) *Problem {
	return &Problem{Code: code, Comment: StandardComment(code), Err: cause}
}

// Error has the code and the cause, for logs; without a cause, the text.
func (p *Problem) Error() string {
	s := "problem " + p.Code
	if p.Code == "" {
		s = "problem without a code"
	}
	if p.Err != nil {
		return s + ": " + p.Err.Error()
	}
	if text := p.Text(); text != "" {
		return s + ": " + text
	}
	return s
}

// Unwrap is the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Text is the comment with {1}, {2} and so on replaced by Args: a missing or
// null argument reads "?", arguments that the comment does not name follow it,
// separated by commas. It is cut after 16 KiB.
func (p *Problem) Text() string {
	if len(p.Args) == 0 && !strings.Contains(p.Comment, "{") && len(p.Comment) <= maxText {
		return p.Comment
	}
	var (
		b     strings.Builder
		named = make([]bool, len(p.Args))
		rest  = p.Comment
	)
	for rest != "" && b.Len() < maxText {
		before, n, after, ok := cutReference(rest)
		b.WriteString(before)
		if rest = after; !ok {
			break
		}
		if n <= len(p.Args) {
			named[n-1] = true
			b.WriteString(cmp.Or(p.Args[n-1], "?"))
		} else {
			b.WriteByte('?')
		}
	}
	sep := " "
	for i, arg := range p.Args {
		if b.Len() >= maxText {
			break
		}
		if named[i] {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(sep)
		}
		b.WriteString(cmp.Or(arg, "?"))
		sep = ", "
	}
	if b.Len() > maxText {
		return strings.ToValidUTF8(b.String()[:maxText], "") + "..."
	}
	return b.String()
}

// cutReference splits s around its first {n}, n from 1 up.
func cutReference(s string) (before string, n int, after string, ok bool) {
	for i := 0; ; {
		open := strings.IndexByte(s[i:], '{')
		if open < 0 {
			return s, 0, "", false
		}
		open += i
		i = open + 1
		end := i
		for end < len(s) && '0' <= s[end] && s[end] <= '9' {
			end++
		}
		if end == len(s) || s[end] != '}' || end-i > 9 {
			continue
		}
		if n, err := strconv.Atoi(s[i:end]); err == nil && n > 0 {
			return s[:open], n, s[end+1:], true
		}
	}
}
