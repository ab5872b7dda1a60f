package pickup

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/store"
)

// The largest number of ids in a messages-received, and of bytes in an id.
const (
	maxIDs = 1000
	maxID  = 256
)

// requestBody is the body of every request. Each request uses some of the members.
type requestBody struct {
	RecipientDID  *string        `json:"recipient_did,omitempty"`
	Limit         jsontext.Value `json:"limit,omitempty"`               // 3.0
	CountLimit    jsontext.Value `json:"message_count_limit,omitempty"` // 4.0
	MessageIDList []string       `json:"message_id_list,omitempty"`
	LiveDelivery  *boolean       `json:"live_delivery,omitempty"`
	Raw           *boolean       `json:"raw,omitempty"` // of ours
}

// recipients returns the recipient that a request is about, or none for all.
func (b *requestBody) recipients() []string {
	if b.RecipientDID == nil || *b.RecipientDID == "" {
		return nil
	}
	return []string{*b.RecipientDID}
}

// limit returns how many messages a delivery-request asks for, from 1 to most. A limit that
// is missing or makes no sense is most.
func (b *requestBody) limit(f form, most int) int {
	first, second := b.Limit, b.CountLimit
	if f.v4 {
		first, second = second, first
	}
	for _, v := range []jsontext.Value{first, second} {
		text := strings.Trim(string(v), `"`)
		if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 1 {
			return int(math.Min(n, float64(most)))
		}
	}
	return most
}

// boolean is true or false, also as a string, which the public suite for mediators sends.
type boolean bool

// UnmarshalJSON implements json.Unmarshaler.
func (b *boolean) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseBool(strings.Trim(string(data), `"`))
	*b = boolean(v)
	return err
}

func (b *boolean) is() bool { return b != nil && bool(*b) }

// statusBody is the body of a status. Times are in seconds in 3.0, and in milliseconds in
// 4.0. Only message_count is required.
type statusBody struct {
	RecipientDID  *string `json:"recipient_did,omitempty"`
	MessageCount  int     `json:"message_count"`
	LongestWaited *int64  `json:"longest_waited_seconds,omitempty"` // 3.0
	Newest        *int64  `json:"newest_received_time,omitempty"`
	Oldest        *int64  `json:"oldest_received_time,omitempty"`
	TotalBytes    *int64  `json:"total_bytes,omitempty"`
	LiveDelivery  *bool   `json:"live_delivery,omitempty"`
}

func newStatus(f form, recipient *string, st store.MailboxStatus, live bool, now time.Time) statusBody {
	b := statusBody{RecipientDID: recipient, MessageCount: st.Count, TotalBytes: &st.Bytes, LiveDelivery: &live}
	if st.Count == 0 {
		return b
	}
	newest, oldest := st.Newest.Unix(), st.Oldest.Unix()
	if f.v4 {
		newest, oldest = st.Newest.UnixMilli(), st.Oldest.UnixMilli()
	} else {
		waited := max(int64(now.Sub(st.Oldest)/time.Second), 0) // the clock may have been set back
		b.LongestWaited = &waited
	}
	b.Newest, b.Oldest = &newest, &oldest
	return b
}

// deliveryBody is the body of a delivery.
type deliveryBody struct {
	RecipientDID *string `json:"recipient_did,omitempty"`
}

// receivedBody is the body of a messages-received.
type receivedBody struct {
	MessageIDList []string `json:"message_id_list"`
}

// liveBody is the body of a live-delivery-change.
type liveBody struct {
	LiveDelivery bool `json:"live_delivery"`
}
