// Package crash proves that no message is lost: two agents with durable stores
// send each other messages by HTTP and by WebSocket while their processes are
// killed at random moments.
//
//	go test -tags crash ./examples/crash
//	go test -tags crash ./examples/crash -run SQLite -messages 100000 -kills 500 -timeout 3h
//
// Each agent is a process of its own (this test, started again), with a real
// database and real sockets. The test tells it to send, and notes each message
// whose Send returned; it kills one of the two with SIGKILL, starts it again, and
// goes on. The receiver writes down each message that its handler is given. In
// the end every message that Send took must have been handled. One that was
// handled twice is counted: that happens where a process is killed between the
// handler's end and the note of it.
package crash
