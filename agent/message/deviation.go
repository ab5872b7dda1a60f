package message

// DeviationCode is the name of a deviation. The names are stable, so that scripts can compare
// them.
type DeviationCode string

// Codes of the deviations that Parse tolerates. The Detail of each Deviation is the name of
// the member.
const (
	DeviationTimeISO8601      DeviationCode = "time-iso8601"       // a date and time as text
	DeviationTimeMilliseconds DeviationCode = "time-milliseconds"  // a number above 1e11
	DeviationTimeString       DeviationCode = "time-string"        // a number in quotes
	DeviationTimeFloat        DeviationCode = "time-float"         // a number with fraction or exponent
	DeviationListString       DeviationCode = "list-string"        // a string where a list of strings belongs
	DeviationPleaseAckBool    DeviationCode = "please-ack-boolean" // please_ack true (this message) or false (none)
	DeviationNull             DeviationCode = "null-member"        // null instead of an absent member
	DeviationReportBody       DeviationCode = "report-body"        // a problem report whose body is a code instead of an object
	DeviationNoData           DeviationCode = "attachment-no-data" // an attachment without json, base64 and links
	DeviationLinksNoHash      DeviationCode = "attachment-no-hash" // links without the hash they require
)

// Deviation is a breach of the specification in a message of a peer that was tolerated.
type Deviation struct {
	Code   DeviationCode `json:"code"`
	Detail string        `json:"detail,omitempty"`
}
