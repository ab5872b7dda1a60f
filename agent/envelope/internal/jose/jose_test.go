package jose_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

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
		want bool
	}{
		{strings.Repeat("[", 3), false},
		{strings.Repeat("[", 4), true},
		{strings.Repeat("[]", 100), false},
		{`{"a":{"b":[]}}`, false},
		{`{"a":{"b":[{}]}}`, true},
		{`"[[[[[[["`, false},
		{`"\"[[[[[[["`, false},
		{`"\\"[[[[`, true},
		{`"[[[[[[[`, false},
	} {
		if got := jose.TooDeep([]byte(tt.data), 3); got != tt.want {
			t.Errorf("%s: %v", tt.data, got)
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
	} {
		if err := jose.Check([]byte(tt.data)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.data, err, tt.want)
		}
	}
}

// FuzzNames: for an object, the names are those that a JSON parser finds.
func FuzzNames(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"d:"},"\"e\"":[]}`)
	f.Add(`{"a\\":"\\","b":"}"}`)
	f.Fuzz(func(t *testing.T, data string) {
		got := names(data)
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(data), &object) != nil || object == nil || jose.Check([]byte(data)) != nil {
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
