// Package archtest has no code of its own: its tests hold the shape of the
// repository. They check which folder may import which, which third-party
// module each package may use and which of them the library links, what
// stands at the top level, that every package and exported name is
// documented, and that the exported API names no third-party type.
//
// The rules are tables at the top of each test file. A change that needs
// another import or another top-level file changes the table in the same
// commit, where a reader sees it.
package archtest
