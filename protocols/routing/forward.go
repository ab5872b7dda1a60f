package routing

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	// maxNext is the largest size of next, in bytes. The long form of a did:peer:4 has a few
	// thousand.
	maxNext = 16 << 10
	// maxAttachments is how many packets one forward may bring. Each costs a durable write.
	maxAttachments = 16
	// maxCapability is the largest size of a capability, in bytes.
	maxCapability = 4 << 10
)

var errShape = errors.New("not an envelope")

// forward is the content of a forward message.
type forward struct {
	next       string
	capability string
	delay      time.Duration // from now
	packets    []store.Packet
}

// parse reads a forward message. The error is a *message.Problem.
func parse(m *message.Message) (*forward, error) {
	var body struct {
		Next       json.RawMessage `json:"next"`
		Capability json.RawMessage `json:"capability"`
		Delay      json.RawMessage `json:"delay_milli"`
	}
	if err := m.DecodeBody(&body); err != nil {
		return nil, malformed("", "The body of the forward cannot be read.", err)
	}
	f := new(forward)
	if err := json.Unmarshal(body.Next, &f.next); err != nil || f.next == "" || len(f.next) > maxNext {
		return nil, malformed(".next", "The member next of the body has to be one DID, as a string.", err)
	}
	if len(body.Capability) > maxCapability {
		return nil, malformed(".capability", "The capability is too long.", nil)
	}
	if len(body.Capability) > 0 {
		if err := json.Unmarshal(body.Capability, &f.capability); err != nil {
			return nil, malformed(".capability", "The member capability of the body has to be a string.", err)
		}
	}
	var err error
	if f.delay, err = delayOf(body.Delay, m.Headers["delay_milli"]); err != nil {
		return nil, malformed(".delay-milli", "The member delay_milli has to be a number of milliseconds.", err)
	}
	if n := len(m.Attachments); n == 0 || n > maxAttachments {
		return nil, malformed(".attachments", fmt.Sprintf("A forward has to have 1 to %d attachments.", maxAttachments), nil)
	}
	for i := range m.Attachments {
		p, err := packetOf(&m.Attachments[i])
		if err != nil {
			return nil, malformed(".attachments", "Each attachment has to be an encrypted or signed message, as json or base64.", err)
		}
		f.packets = append(f.packets, p)
	}
	return f, nil
}

func malformed(what, comment string, cause error) *message.Problem {
	return &message.Problem{Code: "e.p.msg" + what, Comment: comment, Err: cause}
}

// maxDelay is the longest delay of a forward. A longer one is shortened.
const maxDelay = 24 * time.Hour

// delayOf returns the delay of a forward, as delay_milli of its body has it, or else its header
// of that name. A negative one is a random delay up to its absolute value.
func delayOf(forms ...json.RawMessage) (time.Duration, error) {
	for _, form := range forms {
		if len(form) == 0 || string(form) == "null" {
			continue
		}
		var milli float64
		if err := json.Unmarshal(form, &milli); err != nil {
			return 0, err
		}
		delay := time.Duration(min(math.Abs(milli), float64(maxDelay.Milliseconds()))) * time.Millisecond
		if milli < 0 {
			delay = rand.N(delay + 1)
		}
		return delay, nil
	}
	return 0, nil
}
