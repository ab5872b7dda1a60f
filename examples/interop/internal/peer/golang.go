package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// GoProgram builds the program in folder, a package of this module with the build
// tag interop, into a temporary folder of the caller's, and returns its path.
func GoProgram(ctx context.Context, folder, tmp string) (string, error) {
	program := filepath.Join(tmp, filepath.Base(folder))
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	path := "." + string(os.PathSeparator) + folder
	if out, err := command(ctx, "go", "build", "-tags", "interop", "-trimpath", "-o", program, path); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
}
