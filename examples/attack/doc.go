// Package attack attacks a running "didcomm serve" as a stranger with one machine would: with
// memory, connections, free DIDs, replays, and messages of others. Each test is a row of the
// threat model in cmd/didcomm/README.md. It logs the figure that the same attack had on
// 2026-11-30 against the agent of that day, which was no mediator, the figure now, and the
// bound. It fails if the figure is over the bound.
//
//	go test -tags attack ./examples/attack -v
//	go test -tags attack ./examples/attack -v -full -timeout 1h
//
// Without -full, the counts are smaller, so that all rows take about four minutes.
//
// The target is the real binary with its defaults, on loopback. The attackers use the
// addresses 127.0.0.0/8 as those of different machines. The suite needs Linux, since it reads
// memory and descriptors of the target from /proc.
package attack
