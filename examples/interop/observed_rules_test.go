package interop_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/examples/interop"
)

// What was observed is of rules that there are, and whole; a rule for what is as
// it may be has somebody who refuses it.
func TestObservedRules(t *testing.T) {
	refused := map[string]bool{}
	for _, o := range interop.Observed() {
		refused[o.Rule] = true
		if o.Name == "" || o.Version == "" || o.Words == "" {
			t.Errorf("incomplete: %+v", o)
		}
	}
	for _, r := range doctor.Rules() {
		if r.Severity == doctor.Info && !refused[r.Code] {
			t.Errorf("%s: why tell it if everybody takes it?", r.Code)
		}
		delete(refused, r.Code)
	}
	for code := range refused {
		t.Errorf("%s is no rule", code)
	}
}
