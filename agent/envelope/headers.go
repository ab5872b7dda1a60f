package envelope

import (
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// headerDeviations returns a deviation for each header of m that lacks the form which
// DIDComm v2.1 (Message Headers; DIDComm Plaintext Messages) demands of it.
func headerDeviations(m *message.Message) []message.Deviation {
	var found []message.Deviation
	note := func(code message.DeviationCode, format string, value string) {
		found = append(found, message.Deviation{Code: code, Detail: fmt.Sprintf(format, value)})
	}
	if m.Typ != "" && m.Typ != message.MediaType && "application/"+m.Typ != message.MediaType {
		note(DeviationMessageTyp, "typ is %.200q", m.Typ)
	}
	if _, err := message.ParseType(m.Type); err != nil {
		note(DeviationTypeURI, "type is %.200q", m.Type)
	}
	if m.From != "" && !isParty(m.From) {
		note(DeviationFrom, "from is %.200q", m.From)
	}
	for _, to := range m.To {
		if !isParty(to) {
			note(DeviationTo, "to has %.200q", to)
			break
		}
	}
	return found
}

// isParty reports whether id is a DID, or a DID URL without fragment.
func isParty(id string) bool {
	if strings.IndexByte(id, '#') >= 0 {
		return false
	}
	_, err := did.ParseURL(id)
	return err == nil
}
