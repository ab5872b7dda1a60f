package home

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
)

// markerFile has the key ids of the agent's own keys, each on a line. The keys themselves are
// in agent.db. A home whose agent.db was lost can be told from a new home by this file: else
// the agent would begin anew with another identity.
const markerFile = "identity"

// formerMarker is a file that former versions of the program kept beside agent.db.
const formerMarker = "dids.json"

func (c Config) markerPath() string { return filepath.Join(c.Dir, markerFile) }

// marked returns the key ids of the agent that the home had, or nil if there was none or if
// the store is not in the home.
func (c Config) marked() ([]string, error) {
	if c.URL != "" || c.Dir == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.markerPath())
	if err == nil {
		return strings.Fields(string(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, nil
}

// lacking is an error if the home had an agent. It is called when there are no keys.
func (c Config) lacking() error {
	kids, err := c.marked()
	if err != nil {
		return err
	}
	sign := c.markerPath()
	if kids == nil {
		if c.URL != "" || c.Dir == "" {
			return nil
		}
		sign = filepath.Join(c.Dir, formerMarker)
		if _, err := os.Lstat(sign); err != nil {
			if sign = c.rescued(); sign == "" {
				return nil
			}
		}
	}
	return fmt.Errorf("the keys of this home's agent are lost: %s is missing or has no keys%s; to begin as another agent, remove %s", c.path(), c.remedy(), sign)
}

// rescued returns the last file with the content of an agent.db that was lost, or "".
func (c Config) rescued() string {
	files, _ := os.ReadDir(c.Dir)
	for _, file := range slices.Backward(files) { // by name, which ends with the time
		if strings.HasPrefix(file.Name(), storeFile+".rescued-") {
			return filepath.Join(c.Dir, file.Name())
		}
	}
	return ""
}

// remedy says how to get the agent of the home back.
func (c Config) remedy() string {
	if c.URL != "" {
		return "; restore it from a backup"
	}
	hint := "; move it away, if it is there, and give didcomm restore a backup"
	if file := c.rescued(); file != "" {
		hint += ", or " + file
	}
	return hint
}

// mark writes the marker of a home. It is an error if the keys in the store are of another
// agent than the one that the home had.
func (c Config) mark(kids []string) error {
	if c.URL != "" {
		return nil
	}
	before, err := c.marked()
	switch {
	case err != nil:
		return err
	case before == nil:
		return replaceFile(c.markerPath(), []byte(strings.Join(kids, "\n")+"\n"))
	case !slices.Equal(before, kids):
		return fmt.Errorf("%s has the keys of another agent than the one of this home%s; to go on as the other agent, remove %s", c.path(), c.remedy(), c.markerPath())
	}
	return nil
}

// firstKIDs returns the key ids of the agent's own keys in a store, or nil if there are none.
func firstKIDs(ctx context.Context, keys store.SealedKeys) ([]string, error) {
	if _, err := keys.Wrapping(ctx); errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	all, err := keys.All(ctx)
	if err != nil || len(all) < 2 {
		return nil, err
	}
	return []string{all[0].KID, all[1].KID}, nil
}

// replaceFile writes a file of mode 0600, to the disk, or leaves it as it is.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
