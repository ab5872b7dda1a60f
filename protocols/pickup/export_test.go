package pickup

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

// CheckAnswer reads the answer of a mediator.
func CheckAnswer(t *testing.T, m *message.Message) {
	if st, ok := readStatus(m); ok && (st.Count < 0 || st.Bytes < 0) {
		t.Errorf("status %+v", st)
	}
	if mail := readDelivery(m); len(mail) > len(m.Attachments) || len(mail) > maxAttachments {
		t.Errorf("%d messages", len(mail))
	}
}
