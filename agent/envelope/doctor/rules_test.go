package doctor_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Each rule is met by a message of the tables, is whole, and stands once.
func TestRules(t *testing.T) {
	met := map[string]bool{
		// The tests of package envelope make such messages.
		string(envelope.DeviationKID):             true,
		string(envelope.DeviationFromPriorKID):    true,
		string(envelope.DeviationFromPriorSender): true,
	}
	for _, tt := range deviating() {
		for code := range strings.FieldsSeq(tt.want) {
			met[code] = true
		}
	}
	for _, tt := range unopened(t) {
		for code := range strings.FieldsSeq(tt.want) {
			met[code] = true
		}
	}
	seen := map[string]bool{}
	for _, r := range doctor.Rules() {
		if seen[r.Code] {
			t.Errorf("%s stands twice", r.Code)
		}
		seen[r.Code] = true
		if !met[r.Code] {
			t.Errorf("%s: no test has a message with it", r.Code)
		}
		delete(met, r.Code)
		if r.Clause == "" || r.Fix == "" || !slices.Contains([]doctor.Severity{doctor.Error, doctor.Warning, doctor.Info}, r.Severity) {
			t.Errorf("incomplete: %+v", r)
		}
	}
	for code := range met {
		t.Errorf("%s is found but is no rule", code)
	}
}

// All that Unpack tolerates has a rule of the same code.
func TestDeviationsAreRules(t *testing.T) {
	rules := map[string]bool{}
	for _, r := range doctor.Rules() {
		rules[r.Code] = true
	}
	for _, code := range []message.DeviationCode{
		envelope.DeviationSerialization, envelope.DeviationPadding, envelope.DeviationTyp, envelope.DeviationAPVMissing,
		envelope.DeviationAPVMismatch, envelope.DeviationAPUMissing, envelope.DeviationSKIDMissing, envelope.DeviationEPKUnprotected,
		envelope.DeviationEPKString, envelope.DeviationShortCoordinate, envelope.DeviationHighS, envelope.DeviationMixedDIDs,
		envelope.DeviationKID, envelope.DeviationSignedNoTo, envelope.DeviationRecipient,
		envelope.DeviationFromPriorKID, envelope.DeviationFromPriorSender,
		envelope.DeviationMessageTyp, envelope.DeviationTypeURI, envelope.DeviationFrom, envelope.DeviationTo, message.DeviationTimeISO8601, message.DeviationTimeMilliseconds, message.DeviationTimeString,
		message.DeviationTimeFloat, message.DeviationListString, message.DeviationPleaseAckBool, message.DeviationNull, message.DeviationReportBody,
		message.DeviationNoData, message.DeviationLinksNoHash,
	} {
		if !rules[string(code)] {
			t.Errorf("no rule for the deviation %s", code)
		}
	}
}
