package interop_test

import (
	"context"
	"encoding/base64"
	stdjson "encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// difference is a member that the message of this library has in another form than that of
// Credo for the same purpose. Values are those of values, and empty for an absent member.
type difference struct {
	files        string // patterns of path.Match, for files that all have the difference
	member       string
	theirs, ours string
	why          string
}

const (
	reports = "problem-report-*"
	later   = "client-* coordinate-* did-rotate-* discover-* from-prior-first-* issue-* message-* present-* problem-* question-* trust-* ws-*"
	prior   = `{"claims":{"iss":"<prior>","sub":"<sender>"},"header":{"alg":"EdDSA","crv":"Ed25519","kid":"#key-1","typ":"JWT"}}`
)

var credoDifferences = []difference{
	{"[^f]* from-*", "typ", ``, `"application/didcomm-plain+json"`, "the header is recommended; Credo leaves it out"},
	{later, "created_time", ``, `<time>`, "the header is recommended; Credo writes it in basic messages only"},
	{"basicmessage-* edge-* from-prior-basicmessage", "thid", `"<id>"`, ``, "the first message of a thread needs no thid"},
	{"discover-*-queries trust-*-ping", "return_route", ``, `"all"`, "an agent of this library takes the answer on the same connection"},
	{"did-rotate-* from-prior-basicmessage", "from_prior", prior,
		`{"claims":{"iss":"<prior>","sub":"<sender>"},"header":{"alg":"EdDSA","kid":"<prior>#key-1","typ":"JWT"}}`, "the kid is a DID URL"},
	{"forward-*", "body.next", `<did:key>`, `<did:peer>`, "Credo wraps once more for the Ed25519 key of this mediator"},
	{"from-prior-first-*", "from_prior", prior, ``, "Credo has a new DID for each party that takes an invitation"},
	{reports, "type", `"https://didcomm.org/notification/1.0/problem-report"`, `"https://didcomm.org/report-problem/2.0/problem-report"`,
		"DIDComm v2.1 has this type; Credo uses that of DIDComm v1"},
	{reports, "body.description.code", `"message-parse-failure"`, ``, "the code has a member of its own, see body.code"},
	{reports, "body.description.en", `<text>`, ``, "the text has a member of its own, see body.comment"},
	{reports, "body.comment", ``, `<text>`, "the form of DIDComm v2.1"},
	{"problem-report-*-unsupported problem-report-coordinate-*", "body.code", ``, `"e.p.msg.unsupported"`, "the form of DIDComm v2.1"},
	{"problem-report-*-unsupported problem-report-coordinate-*", "body.args", ``, `["https://example.org/unknown/1.0/message"]`, "the type that is not supported"},
	{"problem-report-*-invalid", "body.code", ``, `"e.m.msg"`, "the form of DIDComm v2.1"},
}

// is reports whether all files of a name have the difference.
func (d difference) is(name string) bool {
	return slices.ContainsFunc(strings.Fields(d.files), func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// builder makes the message of this library for the purpose of a recorded one.
type builder func(t *testing.T, c *credoPeer) *message.Message

// credoBuilders are the builders of the protocols that this library has, by pattern of file. A
// message of another protocol is built by message.New, with the recorded body.
var credoBuilders = map[string]builder{
	"basicmessage-2.0*":                           chat,
	"edge-basicmessage-2.0":                       chat,
	"envelope-signed*":                            chat,
	"envelope-anoncrypt-*":                        anonymousChat,
	"from-prior-basicmessage":                     rotatedChat,
	"did-rotate-by-credo-empty":                   rotation,
	"from-prior-first-answer-return-route":        pingResponse,
	"trust-ping-1.0-ping":                         ping,
	"trust-ping-1.0-response-*":                   pingResponse,
	"discover-features-2.0-queries":               queries,
	"discover-features-2.0-disclosures":           disclosures,
	"problem-report-notification-1.0-unsupported": unsupported,
	"problem-report-coordinate-mediation-3.0":     unsupported,
	"problem-report-notification-1.0-invalid":     invalid,
	"forward-2.0-kid-did-key":                     forward,
}

// TestCredoBuilt compares each recorded message with one that an agent of this library sends
// for the same purpose, member by member.
func TestCredoBuilt(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			c := newCredoPeer(t, r)
			build, reason := other, "no protocol yet"
			for pattern, b := range credoBuilders {
				if ok, err := path.Match(pattern, r.Name); err != nil {
					t.Fatal(err)
				} else if ok {
					build, reason = b, ""
				}
			}
			if reason != "" {
				t.Log(reason)
			}
			theirs, ours := values(t, c.theirs), values(t, build(t, c))
			want := map[string]difference{}
			for _, d := range credoDifferences {
				if d.is(r.Name) {
					want[d.member] = d
				}
			}
			for _, member := range slices.Sorted(maps.Keys(union(theirs, ours))) {
				d, ok := want[member]
				delete(want, member)
				switch {
				case !ok && theirs[member] != ours[member]:
					t.Errorf("%s: Credo has %s, this library has %s", member, theirs[member], ours[member])
				case ok && (theirs[member] != d.theirs || ours[member] != d.ours):
					t.Errorf("%s: Credo has %s, this library has %s; not as listed (%s)", member, theirs[member], ours[member], d.why)
				}
			}
			for member := range want {
				t.Errorf("%s: in neither message", member)
			}
		})
	}
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// values returns the members of a message, and those of its body, as JSON. A value that is
// new in each message has a name instead.
func values(t *testing.T, m *message.Message) map[string]string {
	t.Helper()
	data, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	name := func(value, name string) {
		if value != "" {
			names = append(names, value, name)
		}
	}
	name(m.ID, "<id>")
	name(m.ThreadID, "<thread>")
	name(m.ParentThreadID, "<parent>")
	name(m.From, "<sender>")
	for _, to := range m.To {
		name(to, "<recipient>")
	}
	var prior string
	if m.FromPrior != "" {
		var iss string
		prior, iss = priorOf(t, m.FromPrior)
		name(iss, "<prior>")
	}
	named := strings.NewReplacer(names...)
	all := map[string]string{}
	var add func(prefix string, data []byte)
	add = func(prefix string, data []byte) {
		var members map[string]jsontext.Value
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatal(err)
		}
		for name, v := range members {
			switch name = prefix + name; name {
			case "body", "body.description":
				add(name+".", v)
			case "from_prior":
				all[name] = named.Replace(prior)
			case "created_time":
				all[name] = "<time>"
			case "body.description.en", "body.comment":
				all[name] = "<text>"
			case "body.next":
				next, err := did.Parse(strings.Trim(string(v), `"`))
				if err != nil {
					t.Fatal(err)
				}
				all[name] = "<did:" + next.Method + ">"
			default:
				if name == "body.disclosures" || name == "attachments" && m.Type == "https://didcomm.org/routing/2.0/forward" {
					v = memberNames(t, v)
				}
				if err := v.Canonicalize(); err != nil {
					t.Fatal(err)
				}
				all[name] = named.Replace(string(v))
			}
		}
	}
	add("", data)
	return all
}

// priorOf returns the header and the claims of a from_prior, without the time, and the prior
// DID.
func priorOf(t *testing.T, jwt string) (prior, iss string) {
	t.Helper()
	var parts [2]map[string]any
	for i, part := range strings.SplitN(jwt, ".", 3)[:2] {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err == nil {
			err = json.Unmarshal(data, &parts[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	header, claims := parts[0], parts[1]
	delete(claims, "iat")
	data, err := json.Marshal(map[string]any{"header": header, "claims": claims}, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(data), claims["iss"].(string)
}

// memberNames returns the names of the members of the objects in a list.
func memberNames(t *testing.T, list jsontext.Value) jsontext.Value {
	t.Helper()
	var objects []map[string]jsontext.Value
	if err := json.Unmarshal(list, &objects); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, o := range objects {
		for name := range o {
			all[name] = true
		}
	}
	data, err := json.Marshal(slices.Sorted(maps.Keys(all)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// other sends a message of a protocol that this library does not have.
func other(t *testing.T, c *credoPeer) *message.Message {
	body := stdjson.RawMessage(strings.ReplaceAll(string(c.theirs.Body), c.theirs.From, c.own.DID()))
	m, err := message.New(c.theirs.Type, body)
	if err != nil {
		t.Fatal(err)
	}
	m.ThreadID, m.ParentThreadID, m.Attachments = c.theirs.ThreadID, c.theirs.ParentThreadID, c.theirs.Attachments
	if len(c.theirs.To) == 0 { // an invitation is no packet
		m.From = c.own.DID()
		return m
	}
	if c.theirs.ReturnRoute != "" {
		return c.send(t, m, agent.ReturnRoute(c.theirs.ReturnRoute))
	}
	return c.send(t, m)
}

func chat(t *testing.T, c *credoPeer) *message.Message { return say(t, c) }

func anonymousChat(t *testing.T, c *credoPeer) *message.Message { return say(t, c, agent.Anonymous()) }

func say(t *testing.T, c *credoPeer, opts ...agent.SendOption) *message.Message {
	var body basicmessage.Body
	c.built(t, &body)
	if err := basicmessage.Send(t.Context(), c.agent, c.id, body.Content, opts...); err != nil {
		t.Fatal(err)
	}
	return c.next(t)
}

func rotatedChat(t *testing.T, c *credoPeer) *message.Message {
	var body basicmessage.Body
	c.built(t, &body)
	m, err := basicmessage.New(body.Content, "")
	if err != nil {
		t.Fatal(err)
	}
	m.FromPrior = c.prior(t)
	return c.send(t, m)
}

func rotation(t *testing.T, c *credoPeer) *message.Message {
	m, err := message.New(empty.TypeEmpty, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.FromPrior = c.prior(t)
	return c.send(t, m)
}

// ping pings a peer that refuses version 2.0.
func ping(t *testing.T, c *credoPeer) *message.Message {
	ask := func(ctx context.Context) error {
		_, err := trustping.Ping(ctx, c.agent, c.id)
		return err
	}
	return c.asking(t, ask, func() *message.Message {
		c.refuse(t, c.next(t))
		return c.next(t)
	})
}

func pingResponse(t *testing.T, c *credoPeer) *message.Message {
	c.give(t, trustping.TypePing1, `{"response_requested":true}`, nil)
	return c.next(t)
}

func queries(t *testing.T, c *credoPeer) *message.Message {
	var body discover.QueriesBody
	c.built(t, &body)
	ask := func(ctx context.Context) error {
		_, err := discover.Ask(ctx, c.agent, c.id, body.Queries...)
		return err
	}
	return c.asking(t, ask, func() *message.Message { return c.next(t) })
}

// disclosures answers a peer that refuses the name of the specification.
func disclosures(t *testing.T, c *credoPeer) *message.Message {
	c.give(t, discover.TypeQueries, `{"queries":[{"feature-type":"protocol","match":"*"}]}`, nil)
	c.refuse(t, c.next(t))
	return c.next(t)
}

func unsupported(t *testing.T, c *credoPeer) *message.Message {
	c.give(t, "https://example.org/unknown/1.0/message", `{}`, nil)
	return c.next(t)
}

func invalid(t *testing.T, c *credoPeer) *message.Message {
	c.give(t, basicmessage.TypeMessage, `{"content":1}`, nil)
	return c.next(t)
}

// forward sends to the recipient behind the mediator, and returns what the mediator opens.
func forward(t *testing.T, c *credoPeer) *message.Message {
	if err := basicmessage.Send(t.Context(), c.agent, ownerOf(t, c.InnerSecrets), "hello"); err != nil {
		t.Fatal(err)
	}
	return c.next(t)
}
