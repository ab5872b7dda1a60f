package credolike

import (
	"encoding/json"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Message is a plaintext message, in Credo's order of members. It has no typ.
type Message struct {
	ID             string          `json:"id"`
	Type           string          `json:"type"`
	CreatedTime    json.Number     `json:"created_time,omitempty"`
	Body           json.RawMessage `json:"body"`
	ThreadID       string          `json:"thid,omitempty"`
	ParentThreadID string          `json:"pthid,omitempty"`
	From           string          `json:"from,omitempty"`
	To             []string        `json:"to,omitempty"`
	ReturnRoute    string          `json:"return_route,omitempty"`
	FromPrior      string          `json:"from_prior,omitempty"`
	Attachments    []attachment    `json:"attachments,omitzero"` // an empty list is written
}

type attachment struct {
	ID        string `json:"id"`
	MediaType string `json:"media_type,omitempty"`
	Data      struct {
		JSON   json.RawMessage `json:"json,omitempty"`
		Base64 []byte          `json:"base64,omitempty"`
	} `json:"data"`
	LastmodTime string `json:"lastmod_time,omitempty"` // ISO 8601, where DIDComm has seconds
}

// thread is the id of the thread that the message belongs to.
func (m Message) thread() string {
	if m.ThreadID != "" {
		return m.ThreadID
	}
	return m.ID
}

// The message types that the agent knows.
const (
	TypePing         = "https://didcomm.org/trust_ping/1.0/ping"
	TypePingResponse = "https://didcomm.org/trust_ping/1.0/ping_response"
	TypeBasicMessage = "https://didcomm.org/basicmessage/2.0/message"
	TypeQueries      = "https://didcomm.org/discover-features/2.0/queries"
	TypeDisclosures  = "https://didcomm.org/discover-features/2.0/disclosures"
	TypeEmpty        = "https://didcomm.org/empty/1.0/empty"
	TypeReport       = "https://didcomm.org/notification/1.0/problem-report"
	TypeForward      = "https://didcomm.org/routing/2.0/forward"

	TypeMediateRequest     = "https://didcomm.org/coordinate-mediation/2.0/mediate-request"
	TypeMediateGrant       = "https://didcomm.org/coordinate-mediation/2.0/mediate-grant"
	TypeUpdate             = "https://didcomm.org/coordinate-mediation/2.0/keylist-update"
	TypeUpdateResponse     = "https://didcomm.org/coordinate-mediation/2.0/keylist-update-response"
	TypeQuery              = "https://didcomm.org/coordinate-mediation/2.0/keylist-query"
	TypeKeylist            = "https://didcomm.org/coordinate-mediation/2.0/keylist"
	TypeStatusRequest      = "https://didcomm.org/message-pickup/4.0/status-request"
	TypeStatus             = "https://didcomm.org/message-pickup/4.0/status"
	TypeDeliveryRequest    = "https://didcomm.org/message-pickup/4.0/delivery-request"
	TypeDelivery           = "https://didcomm.org/message-pickup/4.0/delivery"
	TypeMessagesReceived   = "https://didcomm.org/message-pickup/4.0/messages-received"
	TypeLiveDeliveryChange = "https://didcomm.org/message-pickup/4.0/live-delivery-change"
)

// protocols are what the agent discloses.
var protocols = []string{
	"https://didcomm.org/basicmessage/2.0",
	"https://didcomm.org/coordinate-mediation/2.0",
	"https://didcomm.org/discover-features/2.0",
	"https://didcomm.org/empty/1.0",
	"https://didcomm.org/message-pickup/4.0",
	"https://didcomm.org/notification/1.0",
	"https://didcomm.org/routing/2.0",
	"https://didcomm.org/trust_ping/1.0",
}

// newMessage makes a message of a type. A body of this package marshals.
func newMessage(typ string, body any) Message {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return Message{ID: message.NewID(), Type: typ, Body: text}
}
