// Package peer runs the programs that stand for other DIDComm libraries.
//
// Python, Node and Maven install a program's packages, Cargo builds the program,
// New describes it, Process.Call asks it. A request is one line of JSON on the
// program's standard input, its answer the next line on its standard output:
//
//	{"id": 7, "op": "unpack", "params": {...}}
//	{"id": 7, "result": {...}}
//	{"id": 7, "error": {"type": "SecretNotFoundError", "message": "..."}}
//
// An error of type "lacks" says that the library does not offer what was asked.
// The types of protocol.go are the params and results of the operations.
package peer
