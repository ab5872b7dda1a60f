package craft

import (
	"encoding/json"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

func plaintextCases() []Case {
	set := func(name string, v any) func(*Draft) { return func(d *Draft) { d.Message[name] = v } }
	without := func(name string) func(*Draft) { return func(d *Draft) { delete(d.Message, name) } }
	attachment := func(a Object) func(*Draft) { return set("attachments", []any{a}) }
	all := []Case{
		{Rule: "too-deep", Name: "70 arrays", Refused: envelope.ErrTooDeep, change: func(d *Draft) {
			var deep any = "x"
			for range 70 {
				deep = []any{deep}
			}
			d.Message["body"] = Object{"x": deep}
		}},
		{Rule: "id-missing", Refused: envelope.ErrMalformed, change: without("id")},
		{Rule: "type-missing", Refused: envelope.ErrMalformed, change: without("type")},
		{Rule: "type-uri", Name: "a word", change: set("type", "ping")},
		{Rule: "message-malformed", Name: "id is a number", Refused: envelope.ErrMalformed, change: set("id", 1)},
		{Rule: "message-malformed", Name: "body is a string", Refused: envelope.ErrMalformed, change: set("body", "x")},
		{Rule: "message-typ", Name: "of an envelope", change: set("typ", "application/didcomm-encrypted+json")},
		{Rule: "to-not-did", Name: "a name beside the DID", change: func(d *Draft) { d.Message["to"] = []string{d.Bob.DID, "bob"} }},
		{Rule: "list-string", Name: "to", change: func(d *Draft) { d.Message["to"] = d.Bob.DID }},
		{Rule: "time-iso8601", change: set("created_time", "2018-01-18T09:50:22Z")},
		{Rule: "time-milliseconds", change: set("created_time", 1516269022000)},
		{Rule: "time-string", change: set("created_time", "1516269022")},
		{Rule: "time-float", change: set("created_time", json.RawMessage("1516269022.5"))},
		{Rule: "body-missing", change: without("body")},
		{Rule: "null-member", Name: "body", change: set("body", nil)},
		{Rule: "null-member", Name: "thid", change: set("thid", nil)},
		{Rule: "please-ack-boolean", change: set("please_ack", true)},
		{Rule: "return-route", Name: "another word", change: set("return_route", "always")},
		{Rule: "attachment-no-id", change: attachment(Object{"data": Object{"json": Object{}}})},
		{Rule: "attachment-no-data", change: attachment(Object{"id": "1", "data": Object{}})},
		{Rule: "attachment-no-hash", change: attachment(Object{"id": "1", "data": Object{"links": []string{"https://example.org"}}})},
	}
	for i := range all {
		all[i].On, all[i].First, all[i].Message = []Mode{Authcrypt, Anoncrypt}, true, true
	}
	return append(all, Case{Rule: "message-typ-missing", On: []Mode{Plain}, Message: true, change: without("typ")})
}

func forwardCases() []Case {
	set := func(change func(attachments []any) []any) func(*Draft) {
		return func(d *Draft) { d.Message["attachments"] = change(d.Message["attachments"].([]any)) }
	}
	all := []Case{
		{Rule: "forward-attachments", Name: "two", change: set(func(a []any) []any { return append(a, a...) })},
		{Rule: "forward-not-json", Name: "base64url", change: set(func(a []any) []any {
			data := a[0].(Object)["data"].(Object)
			return []any{Object{"id": "1", "data": Object{"base64": encoded(data["json"])}}}
		})},
		{Rule: "attachment-no-id", Name: "of a forward", change: set(func(a []any) []any { delete(a[0].(Object), "id"); return a })},
		{Rule: "forward-please-ack", change: func(d *Draft) { d.Message["please_ack"] = []string{""} }},
	}
	for i := range all {
		all[i].On, all[i].Message = []Mode{Forward}, true
	}
	return all
}
