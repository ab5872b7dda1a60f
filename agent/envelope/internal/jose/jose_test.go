package jose_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// maxDepth is the limit of jsontext.
const maxDepth = 10000

func names(data string) (list []string) {
	for name := range jose.Names([]byte(data)) {
		list = append(list, string(name))
	}
	return list
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		data string
		want []string
	}{
		{`{}`, nil},
		{`{"a":1,"b":{"c":2},"d":["e",{"f":3}],"g":"h"}`, []string{"a", "b", "d", "g"}},
		{"{ \"a\"\n:\t\"b\" , \"c\" : [ ] }", []string{"a", "c"}},
		{`{"a\"}":"\\","b\\":"\\\"","c":1}`, []string{`a\"}`, `b\\`, "c"}},
		{`{"a":"b":"c"`, []string{"a", "b"}}, // not JSON: no matter what, but an end
		{`{"a`, nil},
		{`{"a\`, nil},
		{`"`, nil},
		{`]]}}{"a":1`, nil},
		{``, nil},
	} {
		if got := names(tt.data); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.data, got, tt.want)
		}
	}
	for range jose.Names([]byte(`{"a":1,"b":2}`)) {
		break
	}
}

func TestTooDeep(t *testing.T) {
	for _, tt := range []struct {
		data string
		want error
	}{
		{"[[[]]]", nil},
		{"[[[[]]]]", jose.ErrTooDeep},
		{strings.Repeat("[", 3), jose.ErrMalformed},
		{strings.Repeat("[", 4), jose.ErrTooDeep},
		{"[" + strings.Repeat("[],", 100) + "[[]]]", nil},
		{`{"a":{"b":[]}}`, nil},
		{`{"a":{"b":[{}]}}`, jose.ErrTooDeep},
		{`"[[[[[[["`, nil},
		{`"\"[[[[[[["`, nil},
		{`["\\",[[["`, jose.ErrTooDeep},
		{`"[[[[[[[`, jose.ErrMalformed},
	} {
		if err := jose.Check([]byte(tt.data), 3); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.data, err, tt.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		data string
		want error
	}{
		{`{"a":{"b":1},"b":[1,{"b":2}]}`, nil},
		{`{"a":1,"a":2}`, jose.ErrDuplicateName},
		{`{"a":1,"\u0061":2}`, jose.ErrDuplicateName},
		{`[{"a":{"b":1,"b":1}}]`, jose.ErrDuplicateName},
		{`{"a":1`, jose.ErrMalformed},
		{`{} {}`, jose.ErrMalformed},
		{``, jose.ErrMalformed},
		{"\"\xff\"", jose.ErrMalformed},
		{"{\"a\":\"x\x1f\"}", jose.ErrMalformed},
		{`{"a":"\ud800"}`, jose.ErrMalformed},
		{`{"a":1,}`, jose.ErrMalformed},
		{`{"a" 1}`, jose.ErrMalformed},
		{`[1 2]`, jose.ErrMalformed},
		{`[01]`, jose.ErrMalformed},
		{`[nul]`, jose.ErrMalformed},
		{`[}`, jose.ErrMalformed},
		{strings.Repeat("[", 20000), jose.ErrTooDeep},
		{` [ "\u00e4", "ä", -1.5e3 , true,null ] `, nil},
	} {
		if err := jose.Check([]byte(tt.data), maxDepth); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.data, err, tt.want)
		}
	}
}

// An object is read by the Cursor itself, and its members' names with it.
func TestObject(t *testing.T) {
	many := "{"
	for i := range 40 {
		many += fmt.Sprintf("%q:%d,", "name"+strconv.Itoa(i), i)
	}
	for _, tt := range []struct {
		data string
		want error
	}{
		{`{}`, nil},
		{` { "a" : "b" , "c":[1] } `, nil},
		{many + `"name":0}`, nil},
		{many + `"name3":0}`, jose.ErrDuplicateName},
		{many + `"name39":0}`, jose.ErrDuplicateName},
		{`{"a":1,"\u0061":2}`, jose.ErrDuplicateName},
		{`{"a":1,}`, jose.ErrMalformed},
		{`{,}`, jose.ErrMalformed},
		{`{"a"}`, jose.ErrMalformed},
		{`{"a":}`, jose.ErrMalformed},
		{`{"a":1 "b":2}`, jose.ErrMalformed},
		{`{a:1}`, jose.ErrMalformed},
		{`{1:1}`, jose.ErrMalformed},
		{`{"a":1]`, jose.ErrMalformed},
		{`{"a":"1`, jose.ErrMalformed},
		{`{"a":1`, jose.ErrMalformed},
		{`{"a":1} {}`, jose.ErrMalformed},
		{`["a"]`, jose.ErrMalformed},
		{``, jose.ErrMalformed},
	} {
		if err := members([]byte(tt.data)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.data, err, tt.want)
		}
	}
}

// members reads an object member by member.
func members(data []byte) error {
	return jose.Walk(data, maxDepth, func(c jose.Cursor) error {
		return c.Object(func([]byte) error { return c.Skip() })
	})
}

// FuzzCursor checks that Cursor accepts and refuses the same input as jsontext, and returns parts
// of the input.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{
		`{"a":1,"b":{"c":"d:"},"\"e\"":[]}`, `{"a":"\u00e4 \ud83d\ude00","b":"ä"}`, `{"12345678":"1234567\t"}`, "{\"a\":\"1234567\x80\"}",
		`[{"a":1,"a":2}]`, ` "x" `, `-0.5e+3`, `{"a":truefalse}`, `[1]]`, "\"\x7f\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := jsontext.Value(data).IsValid()
		if err := jose.Check(data, maxDepth); (err == nil) != want {
			t.Fatalf("%q: %v, but valid is %v", data, err, want)
		}
		if err := members(data); (err == nil) != (want && jsontext.Value(data).Kind() == '{') {
			t.Fatalf("%q, member by member: %v, but valid is %v", data, err, want)
		}
		_ = jose.Walk(data, maxDepth, func(c jose.Cursor) error {
			text, err := c.Text()
			if err != nil {
				return err
			}
			var s string
			if err := json.Unmarshal(data, &s); want && (err != nil || s != string(text)) {
				t.Fatalf("%q: text %q, want %q, %v", data, text, s, err)
			}
			return nil
		})
	})
}

// FuzzNames: for an object, the names are those that a JSON parser finds.
func FuzzNames(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"d:"},"\"e\"":[]}`)
	f.Add(`{"a\\":"\\","b":"}"}`)
	f.Fuzz(func(t *testing.T, data string) {
		got := names(data)
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(data), &object) != nil || object == nil || jose.Check([]byte(data), maxDepth) != nil {
			return
		}
		if len(got) != len(object) {
			t.Fatalf("names %q of %s", got, data)
		}
		for _, name := range got {
			var s string
			if err := json.Unmarshal([]byte(`"`+name+`"`), &s); err != nil {
				t.Fatal(err)
			}
			if _, ok := object[s]; !ok {
				t.Fatalf("no member %q in %s", s, data)
			}
		}
	})
}
