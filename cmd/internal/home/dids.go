package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// didsFile has the DID documents that the agent of a home has gone by, a JSON
// array, the one of now last. What was sent to it under another URL is opened by
// them, and commands beside the agent send as who it is.
const didsFile = "dids.json"

// maxDIDs bounds them.
const maxDIDs = 1000

// documents reads the documents of the home; there may be none.
func (h *Home) documents() ([]*did.Document, error) {
	path := filepath.Join(h.cfg.Dir, didsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []jsontext.Value
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, damaged(path, err)
	}
	docs := make([]*did.Document, len(list))
	for i, raw := range list {
		if docs[i], err = did.ParseDocument(raw); err != nil {
			return nil, damaged(path, err)
		}
	}
	return docs, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged, and is left as it is; restore it from a copy, or move it away: %w", path, err)
}

// identity is who the agent is by its own keys, as it was served last. If it was
// not yet, it is a did:peer whose endpoint is did.QueueURI.
func (h *Home) identity() (*Identity, error) {
	if id, err := h.last(); id != nil || err != nil {
		return id, err
	}
	return h.Own.Peer(did.QueueURI)
}

// Sender is who the agent is that sends while none serves the home, or beside that:
// as it was served last, else a did:peer whose endpoint is did.QueueURI. The agent
// that serves the home next opens what is answered to it.
func (h *Home) Sender() (*Identity, error) {
	if id, err := h.last(); id != nil || err != nil {
		return id, err
	}
	id, err := h.Own.Peer(did.QueueURI)
	if err != nil {
		return nil, err
	}
	return id, h.Become(id)
}

// last is nil if there is no identity by the agent's own keys.
func (h *Home) last() (*Identity, error) {
	docs, err := h.documents()
	if err != nil {
		return nil, err
	}
	for i, doc := range slices.Backward(docs) {
		if id, err := identify(doc, h.Own); err == nil {
			return id, id.formerly(docs[:i], h.Own)
		}
	}
	return nil, nil
}

// Become makes an identity of the agent's own keys the one that the agent goes by,
// and adds to it those of before.
func (h *Home) Become(id *Identity) error {
	docs, err := h.documents()
	if err != nil {
		return err
	}
	now, err := json.Marshal(id.Document)
	if err != nil {
		return err
	}
	former := slices.DeleteFunc(slices.Clone(docs), func(d *did.Document) bool { return d.ID == id.Document.ID })
	former = former[max(0, len(former)-maxDIDs+1):]
	if err := id.formerly(former, h.Own); err != nil {
		return err
	}
	if len(docs) > 0 {
		last, err := json.Marshal(docs[len(docs)-1])
		if err == nil && string(last) == string(now) {
			return nil
		}
	}
	data, err := json.Marshal(append(former, id.Document), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(h.cfg.Dir, didsFile), append(data, '\n'))
}

// formerly adds the identities of before to one, as far as they are of the same
// keys.
func (id *Identity) formerly(docs []*did.Document, keys Keys) error {
	for _, doc := range docs {
		old, err := identify(doc, keys)
		if err != nil {
			continue // of other keys
		}
		id.former = append(id.former, doc)
		if err := merge(id.Keys, old.Keys); err != nil {
			return err
		}
	}
	return nil
}

// docs are the documents of an identity, of now and before.
func (id *Identity) docs() network.Docs {
	docs := network.Docs{id.Document.ID: id.Document}
	for _, doc := range id.former {
		docs[doc.ID] = doc
	}
	return docs
}

// replaceFile writes a file so that a crash or a full disk leaves the old one or
// the new one.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return tidy(err, path)
	}
	defer os.Remove(f.Name()) // fails where it was renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return tidy(err, path)
}
