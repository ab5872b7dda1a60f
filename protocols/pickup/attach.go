package pickup

import (
	"encoding/base64"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// attachment wraps a packet as it came. didcomm-messaging for Python, which speaks 3.0, reads
// only json. Credo, which speaks 4.0, reads only base64 in the standard alphabet with padding.
func attachment(f form, m store.Mail) message.Attachment {
	a := message.Attachment{ID: m.ID}
	switch v := jsontext.Value(m.Packet.Data); {
	case f.v4:
		a.Data.Base64 = base64.StdEncoding.EncodeToString(v)
	case v.IsValid() && v.Kind() == '{':
		a.Data.JSON = json.RawMessage(v)
	default:
		a.Data.Base64 = base64.RawURLEncoding.EncodeToString(v)
	}
	return a
}

// newDelivery returns a delivery of mail.
func newDelivery(f form, recipient *string, mail []store.Mail) (*message.Message, error) {
	m, err := f.message(NameDelivery, deliveryBody{RecipientDID: recipient})
	if err != nil {
		return nil, err
	}
	m.Attachments = []message.Attachment{} // 4.0 requires the list, even if there is no mail
	for _, p := range mail {
		m.Attachments = append(m.Attachments, attachment(f, p))
	}
	return m, nil
}
