package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version returns one line with the version or commit of this program, the Go release and
// the platform. The Go tool writes them into the program.
func version() string {
	version, commit := "unknown version", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			version = v
		} else {
			version = "development version"
		}
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = ", commit " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " with changes"
			}
		}
		if commit != "" {
			commit += modified
		}
	}
	return fmt.Sprintf("didcomm %s%s, %s, %s/%s, DIDComm Messaging v2.1", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
