package message_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Make a message, write it as JSON, and read it again.
func Example() {
	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": "hello"})
	if err != nil {
		log.Fatal(err)
	}
	m.From, m.To = "did:example:alice", []string{"did:example:bob"}
	data, err := m.Append(nil)
	if err != nil {
		log.Fatal(err)
	}

	received, _, err := message.Parse(data)
	if err != nil {
		log.Fatal(err)
	}
	var body struct {
		Content string `json:"content"`
	}
	if err := received.DecodeBody(&body); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s says %q to %s\n", received.From, body.Content, received.To[0])
	// Output: did:example:alice says "hello" to did:example:bob
}

// Parse reads some forms that break the specification, and reports them.
func ExampleParse() {
	m, deviations, err := message.Parse([]byte(`{
		"id": "1",
		"type": "https://didcomm.org/trust-ping/2.0/ping",
		"to": "did:example:bob",
		"created_time": "1700000000"
	}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.To, m.CreatedTime.Unix())
	for _, d := range deviations {
		fmt.Println(d.Code, d.Detail)
	}

	_, _, err = message.Parse([]byte(`{"id": "1"}`))
	fmt.Println(errors.Is(err, message.ErrInvalid), err)
	// Output:
	// [did:example:bob] 1700000000
	// list-string to
	// time-string created_time
	// true message: invalid: no type
}

// A reply stays in the thread of the message.
func ExampleMessage_Reply() {
	ping := &message.Message{
		ID: "1", Type: "https://didcomm.org/trust-ping/2.0/ping",
		From: "did:example:alice", To: []string{"did:example:bob"},
	}
	pong, err := ping.Reply("https://didcomm.org/trust-ping/2.0/ping-response", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pong.From, pong.To, pong.Thread())
	// Output: did:example:bob [did:example:alice] 1
}

// Two types match if they differ only in the minor version.
func ExampleTypeURI_Matches() {
	ours, err := message.ParseType("https://didcomm.org/trust-ping/2.0/ping")
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range []string{"https://didcomm.org/trust-ping/2.1/ping", "https://didcomm.org/trust-ping/3.0/ping"} {
		theirs, err := message.ParseType(s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(theirs.Major, theirs.Minor, ours.Matches(theirs))
	}
	// Output:
	// 2 1 true
	// 3 0 false
}

// A problem report has a code, a comment, and arguments for the comment.
func ExampleReadProblem() {
	p := message.ReadProblem([]byte(`{"code": "e.p.xfer", "comment": "cannot reach {1}", "args": ["https://bob.example/"]}`))
	fmt.Println(p.Text())
	fmt.Println(message.CodeHasPrefix(p.Code, "e.p"))
	// Output:
	// cannot reach https://bob.example/
	// true
}
