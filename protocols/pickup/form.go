package pickup

import (
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URIs of the protocol. All spellings of a version mean the same protocol; an answer has
// the spelling of its request.
const (
	PIURI3 = "https://didcomm.org/messagepickup/3.0" // also as message-pickup/3.0
	PIURI4 = "https://didcomm.org/message-pickup/4.0"
	// PIURIShort is a spelling of PIURI3 that some agents use.
	PIURIShort = "https://didcomm.org/pickup/3.0"
)

// The names of the messages: a message type is a PIURI, a slash and a name.
const (
	NameStatusRequest      = "status-request"
	NameStatus             = "status"
	NameDeliveryRequest    = "delivery-request"
	NameDelivery           = "delivery"
	NameMessagesReceived   = "messages-received"
	NameLiveDeliveryChange = "live-delivery-change"
)

// The codes of problem reports of a mediator.
const (
	// CodeLiveNotSupported: the connection ends with the answer, as over HTTP.
	CodeLiveNotSupported = "e.m.live-mode-not-supported"
	// CodeLiveReplaced: a newer connection of the same device is live.
	CodeLiveReplaced = "w.m.live-mode-replaced"
)

// form is the version of a message, in the spelling of the message.
type form struct {
	piuri string
	v4    bool
}

// formOf returns the form of a message of this protocol.
func formOf(m *message.Message) (form, error) {
	t, err := message.ParseType(m.Type)
	if err != nil {
		return form{}, err
	}
	t.Minor = 0
	return form{t.PIURI(), t.Major == 4}, nil
}

func (f form) message(name string, body any) (*message.Message, error) {
	return message.New(f.piuri+"/"+name, body)
}
