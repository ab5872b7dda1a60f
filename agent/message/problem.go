package message

import (
	"cmp"
	"strconv"
	"strings"
)

// maxText is the largest size of Problem.Text in bytes. A short comment can refer to a long
// argument many times.
const maxText = 16 << 10

// Problem is an error that is reported to a peer: the body of a problem report (section
// Problem Reports). Err is the cause, which the peer does not see. The JSON form of a Problem
// is the body of the report.
type Problem struct {
	Code       string   `json:"code"`                  // see ParseCode; empty if a received report has no code
	Comment    string   `json:"comment,omitempty"`     // fixed text for the code, with {1}, {2} for Args
	Args       []string `json:"args,omitempty"`        // an empty argument stands for null
	EscalateTo string   `json:"escalate_to,omitempty"` // URI where to get help
	Err        error    `json:"-"`                     // the cause, for logs only
}

var _ error = (*Problem)(nil)

// NewProblem makes a Problem with a code, the StandardComment of the code, and a cause. The
// cause may be nil.
func NewProblem(code string, cause error) *Problem {
	return &Problem{Code: code, Comment: StandardComment(code), Err: cause}
}

// Error returns the code and the cause, or, if there is no cause, the code and the text.
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

// Unwrap returns the cause, Err.
func (p *Problem) Unwrap() error { return p.Err }

// Text returns the comment with {1}, {2} and so on replaced by Args. A missing or null
// argument is replaced by "?". Arguments to which the comment does not refer follow the
// comment, separated by commas. A text of more than 16 KiB is cut off.
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

// cutReference splits s around its first reference {n}, where n is 1 or more.
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
