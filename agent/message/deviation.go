package message

// DeviationCode names one thing that was tolerated though it breaks the
// specification. Codes are stable: scripts may compare them.
type DeviationCode string

// Codes of what Parse tolerates. The Detail of each is the member's name.
const (
	DeviationTimeISO8601      DeviationCode = "time-iso8601"       // a date and time as text
	DeviationTimeMilliseconds DeviationCode = "time-milliseconds"  // a number above 1e11
	DeviationTimeString       DeviationCode = "time-string"        // a number in quotes
	DeviationTimeFloat        DeviationCode = "time-float"         // a number with fraction or exponent
	DeviationListString       DeviationCode = "list-string"        // a string where a list of strings belongs
	DeviationPleaseAckBool    DeviationCode = "please-ack-boolean" // please_ack true (this message) or false (none)
	DeviationNull             DeviationCode = "null-member"        // null for an absent member
	DeviationReportBody       DeviationCode = "report-body"        // a problem report whose body is no object, but a code alone
	DeviationNoData           DeviationCode = "attachment-no-data" // an attachment without json, base64 and links
	DeviationLinksNoHash      DeviationCode = "attachment-no-hash" // links without the hash they require
)

// Deviation is one thing that was tolerated in what a peer sent.
type Deviation struct {
	Code   DeviationCode `json:"code"`
	Detail string        `json:"detail,omitempty"`
}
