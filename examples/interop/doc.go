// Package interop proves the library against DIDComm libraries of others, live:
// what we pack, they open, and the reverse.
//
//	go test -tags interop ./examples/interop/...
//
// A whole run is held against MATRIX.md, the summary in README.md, Observed (which
// peers refused which fault, for package doctor) and testdata/verdicts.sum; with
// the flag -write it writes them. With -record it writes what the peers pack to
// testdata, with the keys and messages to it: envelopes that a plain go test opens
// where no peer is installed, in a format for others too (testdata/README.md).
//
// The first run installs the peers, which takes minutes; a slow machine may want
// go test's -timeout.
//
// Each peer is a small program in its own language, peers/NAME, which calls its
// library's public functions alone, beside a manifest that pins its packages
// exactly; for a program in Rust those that make the envelopes, as a lock file
// would name addresses. The test installs a peer through the ordinary package
// client into a cache folder outside of the repository, starts it once, and
// exchanges envelopes with it: one JSON request and one JSON answer a line
// (package internal/peer).
// TestSpeed asks each program to pack and to open many times over. With -speed it
// does so at length and writes SPEED.md:
//
//	go test -tags interop -run TestSpeed ./examples/interop -speed
//
// Keys and messages are random in every run. Private keys and DID documents are
// handed to the peer with each request.
//
// A peer of one's own is a folder peers/NAME and a NAME_test.go like
// didcomm_python_test.go: install, start, list what the peer lacks and gets wrong,
// and ask it everything, or what fits it. Peers run at once. What is not a cell
// goes into MATRIX.md as a note of the peer's row or as a chapter of its own
// (row_test.go and matrix_test.go).
//
// Faults (package internal/craft) are envelopes that depart from DIDComm in one
// thing, or that nobody must open. A peer is sent each whose sound twin it opens,
// and what it does is written down, not judged; so are finished envelopes that
// were changed, ours to the peer and the peer's to us. Ours must refuse.
//
// MATRIX.md and Observed name no peer beside an envelope that this library
// refuses: a forged sender, a changed ciphertext, a point off its curve. A list of
// who opens such envelopes would help those who forge them sooner than the users
// of a library, whom only a mended release helps. The suite asks each peer all the
// same and is held to the answers, by one sum of each peer in
// testdata/verdicts.sum. The author of a library sees its rows by running its test
// with -attacks, which prints them at the end:
//
//	go test -tags interop -v -run TestVeramo ./examples/interop -attacks
//
// Agents of others stand under peers/live: a library with sockets of its own, or a
// whole agent. TestLiveAgents exchanges messages with them over HTTP and WebSocket,
// on loopback (live_test.go).
//
// A test is one cell. A peer's program that dies, hangs or prints rubbish costs
// the cell that it was asked for. A cell that cannot pass because of the peer
// stands in the list of its defects, with the reason, and fails when it passes
// all the same; what the peer's library does not have at all stands beside it, and
// the peer has to say so itself. Where a peer's toolchain, as python3, cargo,
// node with npm or a JDK with mvn, is missing, or its packages cannot be
// installed, its row says "not run" with the reason and its test is skipped; with
// CI=true in the environment it fails, but for didcomm-jvm when Maven does not
// find its artifact.
package interop
