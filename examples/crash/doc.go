// Package crash proves that no accepted message is lost, and that none waits for
// long: agents with durable stores send and receive while their processes are
// killed, frozen and cut off, their database server is killed, and their disk is
// full.
//
//	go test -tags crash ./examples/crash -v
//	go test -tags crash ./examples/crash -run SQLite -messages 100000 -kills 500 -timeout 3h
//	go test -tags crash ./examples/crash -run Shared/frozen -frozen 90s -v
//
// Each agent is a process of its own (this test, started again), with a real
// database and real sockets. The test notes when each message was accepted: when
// Send returned, or a POST was answered with 2xx. The agent writes down when its
// handler was given each. In the end every message that was accepted must have
// been handled. One that was handled twice is counted: that happens where a
// process ends between the handler's end and the note of it.
//
// # Scenarios
//
// TestSQLite and TestPostgres: two agents, each with a database of its own, send
// each other messages by HTTP and by WebSocket. Again and again one of them is
// killed with SIGKILL and started again, or the PostgreSQL server is.
//
// TestCommit: an agent counts the messages of another one in a record, and answers each
// with its number: by HTTP, in the response to the message, and by the WebSocket of the
// message. Its process is killed, or its PostgreSQL server. If the record and the
// answer were not committed together with the end of the message, messages would have two
// numbers, or a number without an answer.
//
// TestKept: a process is killed that knows three things of others: the DID that a party
// has rotated to, the long form of a did:peer:4, and a message that it cannot open yet. The
// next process knows them too.
//
// TestFullDisk: the disk of one of two agents is full for a while.
//
// TestShared: an agent of three processes that share a PostgreSQL database, or of
// one alone. A client posts messages to each in turn, at another when one does not
// accept within 2 s, and gets messages from them. The rows run at the same time,
// each with a server of its own:
//
//   - calm: nothing is struck. It shows what the harness itself takes.
//   - kill alone, kill one of three, kill one of three for good: SIGKILL while
//     messages are in hand. The process is started again, or is not.
//   - server: the database server is killed and started again. Half of the times
//     its last answers are lost, an answer to a COMMIT among them.
//   - frozen: a process is stopped inside a transaction, for -frozen, and goes on.
//   - vanished host: a process stops inside a transaction and so do its
//     connections to the server, without an end, for good.
//   - silent connections: so do the connections of all processes, one of them
//     inside a transaction. New connections work.
//
// Silent connections lead through a proxy in the test that stops to carry bytes.
// The proxy's machine still acknowledges what it is sent: time limits of TCP do
// not help, only those of the server and its clients.
//
// # Figures
//
// Each scenario logs one line: messages sent, accepted, lost and handled twice, the
// longest wait from accepted to handled, and the longest gap without any message
// accepted, while some are being sent. Neither may be more than 10 s: 15 s where a
// host vanishes, 5 s where nothing is struck. Neither counts the time in which the
// database server is killed and started again, and in TestSQLite and TestPostgres a
// process.
// On the full disk the time counts from when there is room again, and a wait from
// when those come again that were told to do so in 10 s.
//
// Of what the agents of TestShared send, the line has the same under "out", without
// a gap. A message may be handled twice only in rows where a process is killed,
// frozen or gone, and no more of them than that process had in hand. In the row
// "server" no process may log that it could not mark a message as handled.
//
// A failed test waits for what is late, 6 minutes at most, to tell how late.
//
// # Flags
//
//	-messages N   sent by each of TestSQLite and TestPostgres (1000)
//	-kills N      strikes meanwhile, and of TestCommit on SQLite (20)
//	-rate N       messages a second to the agent of each row of TestShared (30)
//	-frozen D     how long a process is frozen (20s)
package crash
