package main

import (
	"bytes"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	const want = `signed (application/didcomm-signed+json)
  bob reads "hello, Bob"; encrypted: false, sender proven: true, provable to others: true
  carol can read it
encrypted (application/didcomm-encrypted+json)
  bob reads "hello, Bob"; encrypted: true, sender proven: true, provable to others: false
  carol cannot open it
encrypted, sender protected (application/didcomm-encrypted+json)
  bob reads "hello, Bob"; encrypted: true, sender proven: true, provable to others: false
  carol cannot open it
signed, then encrypted (application/didcomm-encrypted+json)
  bob reads "hello, Bob"; encrypted: true, sender proven: true, provable to others: true
  carol cannot open it
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
