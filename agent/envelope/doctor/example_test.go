package doctor_test

import (
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
)

// A message with two faults that some receivers refuse.
func ExampleExamine() {
	report := doctor.Examine([]byte(`{
		"id": "1",
		"typ": "application/didcomm-plain+json",
		"type": "https://didcomm.org/trust-ping/2.0/ping",
		"to": "did:example:bob",
		"created_time": 1700000000000,
		"body": {}
	}`))
	for _, f := range report.AtLeast(doctor.Warning) {
		fmt.Println(f)
	}
	// Output:
	// error list-string: to; make it a list of strings = ["did:example:bob"]
	// error time-milliseconds: created_time; write the time in seconds since 1970, not in milliseconds = 1700000000
}
