package routing_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// data returns an attachment with data as JSON.
func data(t testing.TB, text string) message.Attachment {
	t.Helper()
	m, _, err := message.Parse([]byte(`{"id":"1","type":"https://example.org/a/1.0/b","attachments":[{"id":"a","data":` + text + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return m.Attachments[0]
}

func base64ed(t testing.TB, enc *base64.Encoding, content []byte) message.Attachment {
	t.Helper()
	return data(t, `{"base64":"`+enc.EncodeToString(content)+`"}`)
}

// The names of the two keys of a did:key: that of an Ed25519 key, and that of its X25519 image.
func didKeys(t testing.TB) (signing, agreement string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	image, err := didkey.KeyAgreement(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		key any
		id  *string
	}{{public, &signing}, {image, &agreement}} {
		if *k.id, err = didkey.New(k.key); err != nil {
			t.Fatal(err)
		}
	}
	return signing, agreement
}

func fragment(id string) string { return id + "#" + strings.TrimPrefix(id, "did:key:") }

// Every shape in which agents send forwards is taken, and the packet is kept as it came.
func TestShapes(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	jwe := letter(t, alice, bob).Data
	jws := pack(t, alice.Packer, &message.Message{ID: "1", Type: "https://example.org/a/1.0/b", From: alice.DID, Body: []byte("{}")}, envelope.SignBy(alice.DID), envelope.Signed()).Data
	spaced := bytes.ReplaceAll(jwe, []byte(`":`), []byte("\" :\n\t"))
	compact := []byte("e30.YQ.YQ.YQ.YQ")
	odd := []byte(`{"z":1.0E+2,"protected":"\u0041\/","ciphertext":"é","a":[1,-0,{"b":null}]}`)
	signing, agreement := didKeys(t)
	long, err := didpeer.New4(&did.Document{})
	if err != nil {
		t.Fatal(err)
	}
	short, _ := didpeer.Short(long)

	for name, test := range map[string]struct {
		enrolled, next string // the DID of bob by default
		body           string // instead of next
		attachments    []message.Attachment
		edit           func(*message.Message)
		opts           []envelope.PackOption
		want           [][]byte // jwe by default
	}{
		"json":                 {},
		"json with spaces":     {attachments: []message.Attachment{data(t, `{"json":`+string(spaced)+`}`)}},
		"json of its own form": {attachments: []message.Attachment{data(t, `{"json":`+string(odd)+`}`)}, want: [][]byte{odd}},
		"base64url":            {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, jwe)}},
		"base64url, padded":    {attachments: []message.Attachment{base64ed(t, base64.URLEncoding, jwe)}},
		"base64":               {attachments: []message.Attachment{base64ed(t, base64.RawStdEncoding, jwe)}},
		"base64, padded":       {attachments: []message.Attachment{base64ed(t, base64.StdEncoding, jwe)}},
		"base64 with spaces":   {attachments: []message.Attachment{base64ed(t, base64.StdEncoding, spaced)}, want: [][]byte{spaced}},
		"compact":              {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, compact)}, want: [][]byte{compact}},
		"signed":               {attachments: []message.Attachment{data(t, `{"json":`+string(jws)+`}`)}, want: [][]byte{jws}},
		"several":              {attachments: []message.Attachment{data(t, `{"json":`+string(jwe)+`}`), base64ed(t, base64.URLEncoding, jws)}, want: [][]byte{jwe, jws}},
		"twice the same":       {attachments: []message.Attachment{data(t, `{"json":`+string(jwe)+`}`), base64ed(t, base64.URLEncoding, jwe)}},
		"no to":                {edit: func(m *message.Message) { m.To = nil }},
		"a minor version":      {edit: func(m *message.Message) { m.Type = "https://didcomm.org/Routing/2.1/forward" }},
		"with please_ack":      {edit: func(m *message.Message) { m.PleaseAck = []string{""} }},
		"more members":         {body: `{"next":"` + bob.DID + `","thread":"x","capability":null,"delay_milli":0}`},
		"authcrypt":            {edit: func(m *message.Message) { m.From = alice.DID }, opts: []envelope.PackOption{envelope.From(alice.DID)}},
		"a claimed from":       {edit: func(m *message.Message) { m.From = bob.DID }},
		"XC20P":                {opts: []envelope.PackOption{envelope.ContentEncryption(envelope.XC20P)}},
		"a DID URL":            {next: bob.DID + "#key-1"},
		"a query":              {next: bob.DID + "?a=b"},
		"did:key":              {enrolled: signing, next: signing},
		"did:key, the image":   {enrolled: signing, next: agreement},
		"did:key, the origin":  {enrolled: agreement, next: signing},
		"did:key, a fragment":  {enrolled: agreement, next: fragment(signing)},
		"did:key, its image":   {enrolled: signing, next: signing + "#" + strings.TrimPrefix(agreement, "did:key:")},
		"did:key, X#X":         {enrolled: signing, next: fragment(agreement)},
		"did:peer:4":           {enrolled: long, next: long},
		"did:peer:4, short":    {enrolled: long, next: short},
		"did:peer:4, long":     {enrolled: short, next: long},
		"did:peer:4 and a key": {enrolled: short, next: long + "#key-1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, agenttest.NewNet())
			if test.enrolled == "" {
				test.enrolled = bob.DID
			}
			if test.next == "" {
				test.next = bob.DID
			}
			if test.body == "" {
				test.body = next(test.next)
			}
			if test.attachments == nil {
				test.attachments = []message.Attachment{data(t, `{"json":`+string(jwe)+`}`)}
			}
			if test.want == nil {
				test.want = [][]byte{jwe}
			}
			o.enroll(t, test.enrolled)
			m := o.forward(test.body, test.attachments...)
			if test.edit != nil {
				test.edit(m)
			}
			a := o.post(t, pack(t, alice.Packer, m, append(test.opts, envelope.To(o.DID()))...))
			if a.status != http.StatusAccepted || len(a.body) > 0 {
				t.Errorf("status %d: %s", a.status, a.body)
			}
			o.wantMail(t, test.enrolled, test.want...)
			for _, mail := range o.mail(t, test.enrolled) {
				if want := envelope.MediaTypeEncrypted; bytes.Equal(mail.Packet.Data, jws) != (mail.Packet.MediaType != want) {
					t.Errorf("media type %s", mail.Packet.MediaType)
				}
			}
		})
	}
}

// What is no forward, or has no envelope in it, is refused, and the sender is told why.
func TestMalformed(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	jwe := letter(t, alice, bob).Data
	good := data(t, `{"json":`+string(jwe)+`}`)
	deep := []byte(`{"protected":"e30","ciphertext":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`)
	for name, test := range map[string]struct {
		body        string
		attachments []message.Attachment
		code        string
	}{
		"no next":               {body: `{}`, code: "e.p.msg.next"},
		"an empty next":         {body: next(""), code: "e.p.msg.next"},
		"next is null":          {body: `{"next":null}`, code: "e.p.msg.next"},
		"next is a number":      {body: `{"next":7}`, code: "e.p.msg.next"},
		"next is a list":        {body: `{"next":["` + bob.DID + `"]}`, code: "e.p.msg.next"},
		"next is an object":     {body: `{"next":{"did":"` + bob.DID + `"}}`, code: "e.p.msg.next"},
		"a huge next":           {body: next("did:example:" + strings.Repeat("a", 1<<20)), code: "e.p.msg.next"},
		"a delay in words":      {body: `{"next":"` + bob.DID + `","delay_milli":"soon"}`, code: "e.p.msg.delay-milli"},
		"a capability":          {body: `{"next":"` + bob.DID + `","capability":7}`, code: "e.p.msg.capability"},
		"a huge capability":     {body: `{"next":"` + bob.DID + `","capability":"` + strings.Repeat("a", 1<<20) + `"}`, code: "e.p.msg.capability"},
		"no attachment":         {attachments: []message.Attachment{}},
		"many attachments":      {attachments: slices.Repeat([]message.Attachment{good}, 17)},
		"no content":            {attachments: []message.Attachment{data(t, `{}`)}},
		"links":                 {attachments: []message.Attachment{data(t, `{"links":["https://example.org/a"],"hash":"x"}`)}},
		"not base64":            {attachments: []message.Attachment{data(t, `{"base64":"%%%"}`)}},
		"base64 of nothing":     {attachments: []message.Attachment{data(t, `{"base64":"===="}`)}},
		"base64 of words":       {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, []byte("hello world"))}},
		"a string":              {attachments: []message.Attachment{data(t, `{"json":"hello"}`)}},
		"a list":                {attachments: []message.Attachment{data(t, `{"json":[`+string(jwe)+`]}`)}},
		"an empty object":       {attachments: []message.Attachment{data(t, `{"json":{}}`)}},
		"a plaintext":           {attachments: []message.Attachment{data(t, `{"json":{"id":"1","type":"https://example.org/a/1.0/b","body":{}}}`)}},
		"half of an envelope":   {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, jwe[:len(jwe)/2])}},
		"two envelopes":         {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, slices.Concat(jwe, jwe))}},
		"a name twice":          {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, []byte(`{"protected":"a","protected":"b","ciphertext":"c"}`))}},
		"deep nesting":          {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, deep)}},
		"four dots":             {attachments: []message.Attachment{base64ed(t, base64.RawURLEncoding, []byte("a.b.c.d"))}},
		"one of several is bad": {attachments: []message.Attachment{good, data(t, `{"json":{}}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, agenttest.NewNet())
			o.enroll(t, bob.DID)
			if test.body == "" {
				test.body = next(bob.DID)
			}
			if test.attachments == nil {
				test.attachments = []message.Attachment{good}
			}
			if test.code == "" {
				test.code = "e.p.msg.attachments"
			}
			m := o.forward(test.body, test.attachments...)
			o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, test.code)
			if mail := o.mail(t, bob.DID); len(mail) > 0 {
				t.Errorf("kept %d packets", len(mail))
			}
		})
	}
}

// credoRecording is a file of testdata/credo.
type credoRecording struct {
	Packed  json.RawMessage   `json:"packed"`
	Secrets []json.RawMessage `json:"recipient_secrets"`
	Docs    []json.RawMessage `json:"did_docs"`
	Plain   message.Message   `json:"plaintext"`
}

func credo(t testing.TB, name string) (r credoRecording) {
	t.Helper()
	text, err := os.ReadFile("testdata/credo/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// A forward of Credo names the mediator and the recipient by did:keys, and the recipient by that
// of its Ed25519 key.
func TestCredoForward(t *testing.T) {
	r := credo(t, "forward-2.0-kid-did-key")
	var agreement []json.RawMessage
	for _, s := range r.Secrets {
		if strings.Contains(string(s), `"X25519"`) { // or next would be a key of ours
			agreement = append(agreement, s)
		}
	}
	secrets, err := json.Marshal(agreement)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(secrets)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := did.ParseDocument(r.Docs[0])
	if err != nil {
		t.Fatal(err)
	}
	packer, err := envelope.New(envelope.Config{Keys: keys, Resolver: did.Methods{"peer": didpeer.NewResolver(), "key": didkey.Resolver{}}})
	if err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, agenttest.NewNet(), func(c *config) { c.agent.DID, c.agent.Packer = doc.ID, packer })
	var body struct {
		Next string `json:"next"`
	}
	if err := r.Plain.DecodeBody(&body); err != nil {
		t.Fatal(err)
	}
	o.enroll(t, body.Next)
	a := o.post(t, envelope.Envelope{MediaType: "application/didcomm-envelope-enc", Data: r.Packed})
	if a.status != http.StatusAccepted {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	var want bytes.Buffer // as it was sent, without the spaces of the file
	if err := json.Compact(&want, r.Plain.Attachments[0].Data.JSON); err != nil {
		t.Fatal(err)
	}
	o.wantMail(t, body.Next, want.Bytes())
}
