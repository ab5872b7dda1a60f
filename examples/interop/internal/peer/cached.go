package peer

import (
	"os"
	"path/filepath"
)

// cached returns the path of the folder name in cache. If the folder is not usable yet, cached
// makes a folder with another name, calls fill for it, and renames it when it is complete.
// Several processes may call cached at the same time. there reports whether a folder is
// usable.
func cached(cache, name string, there func(dir string) bool, fill func(fresh string) error) (string, error) {
	dir := filepath.Join(cache, name)
	if there(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, name+".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := fill(fresh); err != nil {
		return "", err
	}
	if !there(dir) {
		// The folder is not usable any more.
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	// If another process was faster, its folder is used.
	if err := os.Rename(fresh, dir); err != nil && !there(dir) {
		return "", err
	}
	return dir, nil
}
