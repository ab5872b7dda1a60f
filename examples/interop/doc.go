// Package interop exchanges messages with the DIDComm libraries of other authors, the peers.
// Each peer opens what this library packs, and the reverse.
//
//	go test -tags interop ./examples/interop/...
//
// The first run installs the peers, which takes minutes. On a slow machine, give go test a
// longer -timeout.
//
// # Results
//
// A cell is one message in one direction, in one combination of algorithms and keys. Each
// cell is a test. If a cell cannot pass because of the peer, it is in the list of the peer's
// defects, with the reason, and fails as soon as it passes. The list of what the peer lacks
// has the combinations that the peer's library does not have. The peer must say so itself.
//
// A whole run compares its results with these files, and fails if they differ:
//
//   - MATRIX.md, with all cells, and its summary in README.md;
//   - observed.go, with the libraries that refused a certain fault, for package doctor;
//   - testdata/verdicts.sum, see Attacks below.
//
// The flag -write makes the run write these files. With -record, the run writes the envelopes
// that the peers pack to testdata, with the keys and messages. A plain go test opens these
// envelopes, also where no peer is installed. The tests of other libraries can use them too
// (testdata/README.md).
//
// TestSpeed measures how long each peer takes to pack and to open messages. With -speed, it
// measures for longer and writes SPEED.md:
//
//	go test -tags interop -run TestSpeed ./examples/interop -speed
//
// # Peers
//
// Each peer is a small program in its own language, in the folder peers/NAME. It calls only
// public functions of its library. A manifest beside the program pins the versions of all
// packages. A lock file of Cargo would name addresses, so the manifest of a Rust program pins
// only the packages that make the envelopes.
//
// The test installs a peer with the usual package client of its language, into a cache folder
// outside of the repository. It starts each peer once, and exchanges JSON with it: one line
// for a request, and one line for the answer (package internal/peer). A request has the
// private keys and DID documents that the peer needs. Keys and messages are random in every
// run. A program that ends, hangs, or prints invalid output makes only the current cell fail.
//
// If a toolchain is missing (python3, cargo, node with npm, a JDK with mvn), or if packages
// cannot be installed, the row of the peer says "not run" with the reason, and its test is
// skipped. With CI=true in the environment the test fails instead. The only exception is
// didcomm-jvm, if Maven does not find its artifact.
//
// TestLiveAgents exchanges messages with agents of other authors, over HTTP and WebSocket on
// loopback (live_test.go). These agents are in the folder peers/live, but for credo-like: its
// code is in package internal/credolike, and a plain go test runs most of its exchanges
// (credolike_test.go). TestMediation has agents as clients and as mediators
// (live_mediated_test.go).
//
// # Faults
//
// Package internal/craft makes faults: envelopes that depart from DIDComm in one point, or
// that no library may open. For each fault there is a correct envelope. A peer gets a fault
// only if it opens the correct envelope. The test records what the peer does, without a
// judgement. It does the same with envelopes that are changed on the way, in both directions.
// This library must refuse each envelope that no library may open.
//
// # Attacks
//
// Some envelopes are attacks, such as a forged sender, a changed ciphertext, or a point that
// is not on its curve. This library refuses them. MATRIX.md and Observed do not name peers for
// such envelopes: a list of the libraries that open them would help attackers before it helps
// users. The run compares the answers of the peers with checksums in testdata/verdicts.sum,
// one for each peer. The flag -attacks prints the answers of a peer at the end of its test, for
// the author of the library:
//
//	go test -tags interop -v -run TestVeramo ./examples/interop -attacks
//
// # Add a peer
//
// Make a folder peers/NAME and a file NAME_test.go like didcomm_python_test.go. The test
// installs and starts the peer, lists its lacks and defects, and runs all cells, or those that
// the peer can do. All peers run at the same time. A result that is not a cell becomes a note
// in the row of the peer, or a chapter of its own in MATRIX.md (row_test.go and
// matrix_test.go).
package interop
