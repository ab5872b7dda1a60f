package agent

import (
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
)

// The types of messages that an Agent understands without a Handler. The packages
// protocols/report and protocols/empty use them too.
const (
	problemReportType = "https://didcomm.org/report-problem/2.0/problem-report"
	emptyType         = "https://didcomm.org/empty/1.0/empty"
	forwardType       = "https://didcomm.org/routing/2.0/forward"
)

// isProblemReport reports whether m is a problem report of any protocol.
func isProblemReport(m *message.Message) bool { return message.IsProblemReport(m.Type) }
func isEmpty(m *message.Message) bool         { return message.Is(m, emptyType) }
func isForward(m *message.Message) bool       { return message.Is(m, forwardType) }

// isPong reports whether m is a ping-response, of any version of Trust Ping.
func isPong(m *message.Message) bool {
	t, err := message.ParseType(m.Type)
	if err != nil {
		return false
	}
	pong := message.TypeURI{DocURI: t.DocURI, Protocol: "trust-ping", Major: t.Major, Name: "ping-response"}
	return pong.Matches(t)
}

// isAck reports whether m has no other purpose than to ack messages.
func isAck(m *message.Message) bool {
	return isEmpty(m) && len(m.Ack) > 0 && len(m.PleaseAck) == 0 && m.ReturnRoute == ""
}

// codeBusy is the code of the problem report of an agent that cannot accept a message now.
const codeBusy = "e.p." + message.DescriptorMeRes + ".storage"

// isBusy reports whether m is a problem report that says that its sender could not accept a
// message now.
func isBusy(m *message.Message) bool {
	return isProblemReport(m) && len(m.Ack) == 0 && message.ReadProblem(m.Body).Code == codeBusy
}

// codeDejavu is the code of the problem report of an agent that has got a message before. It is
// the code that the mediators of Identus and their test suite use.
const codeDejavu = "e.p.crypto.message.dejavu"

// isDejavu reports whether m is a problem report that says no more than that its sender has got a
// message before.
func isDejavu(m *message.Message) bool {
	return isProblemReport(m) && message.ReadProblem(m.Body).Code == codeDejavu
}

// subject returns the thread that m is about. For a problem report with a parent thread,
// it is the parent thread. Otherwise it is the thread of m.
func subject(m *message.Message) string {
	if m.ParentThreadID != "" && isProblemReport(m) {
		return m.ParentThreadID
	}
	return m.Thread()
}

// foldID returns a message id in lower case, since ids are compared without regard to case
// (DIDComm v2.1, Message IDs).
func foldID(id string) string { return strings.ToLower(id) }
