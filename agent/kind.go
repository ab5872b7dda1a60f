package agent

import (
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
)

// The messages that an agent understands whatever its Handler: packages report
// and empty in protocols are their outer side.
const (
	problemReportType = "https://didcomm.org/report-problem/2.0/problem-report"
	emptyType         = "https://didcomm.org/empty/1.0/empty"
	forwardType       = "https://didcomm.org/routing/2.0/forward"
)

// isProblemReport holds for those of all protocols: nothing answers a report, lest
// two agents report each other's reports.
func isProblemReport(m *message.Message) bool { return message.IsProblemReport(m.Type) }
func isEmpty(m *message.Message) bool         { return message.Is(m, emptyType) }
func isForward(m *message.Message) bool       { return message.Is(m, forwardType) }

// isPong holds for the answers to trust pings, of all versions.
func isPong(m *message.Message) bool {
	t, err := message.ParseType(m.Type)
	if err != nil {
		return false
	}
	pong := message.TypeURI{DocURI: t.DocURI, Protocol: "trust-ping", Major: t.Major, Name: "ping-response"}
	return pong.Matches(t)
}

// isAck tells whether a message is nothing but acks.
func isAck(m *message.Message) bool {
	return isEmpty(m) && len(m.Ack) > 0 && len(m.PleaseAck) == 0 && m.ReturnRoute == ""
}

// codeBusy is the problem of an agent that has no room for a message now.
const codeBusy = "e.p." + message.DescriptorMeRes + ".storage"

// isBusy tells whether a message reports that its sender was too busy to take what
// the report is about.
func isBusy(m *message.Message) bool {
	return isProblemReport(m) && len(m.Ack) == 0 && message.ReadProblem(m.Body).Code == codeBusy
}

// subject is the thread that a message is about: a problem report names it as
// its parent, all others are part of it.
func subject(m *message.Message) string {
	if m.ParentThreadID != "" && isProblemReport(m) {
		return m.ParentThreadID
	}
	return m.Thread()
}

// foldID makes message ids comparable: they are compared without case (Message
// IDs).
func foldID(id string) string { return strings.ToLower(id) }
