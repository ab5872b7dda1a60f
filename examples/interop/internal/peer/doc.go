// Package peer runs programs that use other DIDComm libraries.
//
// [Python], [Node] and [Maven] install the packages of a program, and [Cargo] builds a
// program. [New] describes a program, and [Process.Call] sends it a request. A request is one
// line of JSON on the standard input of the program. The answer is the next line on its
// standard output:
//
//	{"id": 7, "op": "unpack", "params": {...}}
//	{"id": 7, "result": {...}}
//	{"id": 7, "error": {"type": "SecretNotFoundError", "message": "..."}}
//
// An error of type "lacks" says that the library does not have the operation or the
// combination. The params and results of the operations are types of this package.
package peer
