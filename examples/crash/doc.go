// Package crash tests that no accepted message is lost, and that none waits for long.
// Agents with durable stores send and receive messages. Meanwhile their processes are
// killed, frozen and cut off from the network, their database server is killed, or their
// disk is full.
//
//	go test -tags crash ./examples/crash -v
//	go test -tags crash ./examples/crash -run SQLite -messages 100000 -kills 500 -timeout 3h
//	go test -tags crash ./examples/crash -run TestMediated -skip 'Socket|Postgres|Shared' -messages 100000 -kills 500 -timeout 3h
//	go test -tags crash ./examples/crash -run Shared/frozen -frozen 90s -v
//
// Each agent is a process of its own, for which the test binary starts itself again. It has
// a real database and real sockets. The test records when each message is accepted: when
// Send returns, or when a POST is answered with 2xx. The agent records each call of its
// handler. In the end, every accepted message must have been handled. The test also counts
// the messages that were handled twice, because a process ended after the handler and before
// the store knew of that.
//
// # Scenarios
//
// TestSQLite and TestPostgres: two agents, each with a database of its own, send each other
// messages by HTTP and by WebSocket. Again and again, one of them is killed with SIGKILL and
// started again. In TestPostgres, the PostgreSQL server is killed as well.
//
// TestCommit: an agent counts the messages of another agent in a record, and answers each
// message with its number: by HTTP, in the response to the message, and by the WebSocket of
// the message. Its process or its PostgreSQL server is killed. With PostgreSQL, the agent has
// two processes, which count in the same record. If the record, the answer and
// the end of the message were not committed together, a message would have two numbers, or a
// number without an answer.
//
// TestKept: an agent knows three facts about other parties: the DID that a party has rotated
// to, the long form of a did:peer:4, and a message that the agent cannot open yet. Its process
// is killed. The next process must know the same facts.
//
// TestFullDisk: the disk of one of two agents is full for some time.
//
// TestShared: an agent consists of three processes that share a PostgreSQL database, or of
// one process. A client posts messages to each process in turn, and receives messages from
// them. If a process does not accept a message within 2 seconds, the client posts the message
// to another process. These rows run at the same time, each with a database server of its
// own:
//
//   - calm: nothing fails. The row shows the delays of the test itself.
//   - kill alone, kill one of three, kill one of three for good: SIGKILL while a process
//     handles messages. In the first two rows, the process is started again.
//   - server: the database server is killed and started again. Half of the times, its last
//     answers are lost, among them the answer to a COMMIT.
//   - frozen: a process is stopped inside a transaction for the time of -frozen, and
//     continues then.
//   - vanished host: a process is stopped inside a transaction for good. Its connections to
//     the server stay open and transmit nothing.
//   - silent connections: the connections of all processes stay open and transmit nothing.
//     One of the processes is inside a transaction. New connections work.
//
// Silent connections lead through a proxy in the test, which stops forwarding. The machine of
// the proxy still acknowledges all data. Time limits of TCP therefore do not help, only those
// of the server and of its clients.
//
// TestMediated: a sender writes to two phones behind a mediator. One phone polls the mediator, and
// one has live mode on a WebSocket. A message is accepted when the Send of the sender returns, and
// has come to its end when the handler of a phone has had it. The sender, the mediator and the
// phones are killed. These rows run at the same time:
//
//   - TestMediated: all stores are SQLite files.
//   - TestMediatedSocket: the same, and the only endpoint of the mediator is a WebSocket. The
//     sender learns of no forward whether the mediator has it.
//   - TestMediatedPostgres: the store of the mediator is on a PostgreSQL server, which is killed
//     as well.
//   - TestMediatedShared: the same with half as many messages and kills, and the mediator has two
//     processes, with endpoints of their own.
//
// # Figures
//
// Each scenario logs one line: the number of messages that were sent, accepted, lost and
// handled twice; the longest wait between accepting and handling a message; and the longest
// gap, a time in which messages are sent and none is accepted.
//
// The wait and the gap have a limit: 15 seconds in the row "vanished host", 5 seconds in the
// row "calm", a minute in the tests with a mediator, and 10 seconds otherwise. These times do
// not count:
//
//   - the time in which the database server is killed and started again;
//   - in TestSQLite, TestPostgres and TestMediated, the same time of a process;
//   - in TestMediatedPostgres and TestMediatedShared, the time until 10 seconds after the last
//     kill: a sender that a mediator without a database has refused comes again after that time,
//     and may be refused again;
//   - in TestFullDisk, the time until the disk has room again. The wait of a message that was
//     refused with a request to try again in 10 seconds counts from the next try.
//
// In TestShared, the part of the line after "out" is about the messages that the agent sends.
// It has no gap. A message may be handled twice only in a row in which a process is killed,
// frozen or gone, and there may be no more such messages than that process was handling. In
// the row "server", no process may log that it could not record the end of a message.
//
// A failed test waits for late messages for 6 minutes at most, and reports how late they are.
//
// # Flags
//
//	-messages N   messages that each of TestSQLite, TestPostgres and TestMediated sends (1000)
//	-kills N      number of kills meanwhile (20)
//	-rate N       messages per second to the agent of each row of TestShared (30)
//	-frozen D     how long a process is frozen (20s)
package crash
