// Package config sets the flags of a command from the environment and from a
// configuration file. Call [Apply] after the flags are parsed. The command line takes
// precedence over the environment, and the environment over the file.
//
// A setting has one name: the flag --public-url is the environment variable
// DIDCOMM_PUBLIC_URL, and the key public-url of the file. The flag parses the value in all
// three cases, so that a value always has the same meaning.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix is the prefix of all environment variables.
const EnvPrefix = "DIDCOMM_"

// maxFile limits the size of a configuration file, in bytes.
const maxFile = 1 << 20

// SettingError is the error for a wrong setting: a value that does not parse, or a key
// without a flag.
type SettingError struct {
	Source string // where the setting is, for example "DIDCOMM_LISTEN" or "config.yaml: listen"
	Err    error  // the cause
}

// Error returns the source and the cause.
func (e *SettingError) Error() string { return e.Source + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// EnvName returns the name of the environment variable of a flag.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Source names the sources of settings besides the command line.
type Source struct {
	// LookupEnv is os.LookupEnv, or a replacement in tests. A variable with an empty
	// value is ignored.
	LookupEnv func(string) (string, bool)
	// File is the path of a YAML file, or "" for none.
	File string
	// Optional says that it is no error if File does not exist.
	Optional bool
	// Known lists the allowed keys of File besides the names of the flags. They belong to
	// other commands, which use the same file. Any other key is an error.
	Known []string
}

// Apply sets each flag that is not on the command line: from the environment if its
// variable is set, otherwise from the file. For a flag with several values, the value is
// a YAML list in the file, and words separated by spaces in the environment. The flags in
// except are not set.
//
// The error is a *SettingError for a wrong setting. Any other error is about the file.
func Apply(flags *pflag.FlagSet, src Source, except ...string) error {
	file, err := read(src.File, src.Optional)
	if err != nil {
		return err
	}
	for key := range file {
		if flags.Lookup(key) == nil && !slices.Contains(src.Known, key) || slices.Contains(except, key) {
			return &SettingError{src.File, fmt.Errorf("unknown key %q", key)}
		}
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if failed != nil || f.Changed || slices.Contains(except, f.Name) {
			return
		}
		if v, ok := src.LookupEnv(EnvName(f.Name)); ok && v != "" {
			values := []string{v}
			if _, list := f.Value.(pflag.SliceValue); list {
				values = strings.Fields(v)
			}
			failed = set(flags, f, values, EnvName(f.Name))
		} else if node, ok := file[f.Name]; ok {
			values, err := scalars(f, &node)
			if err != nil {
				failed = &SettingError{src.File + ": " + f.Name, err}
				return
			}
			failed = set(flags, f, values, src.File+": "+f.Name)
		}
	})
	return failed
}

func set(flags *pflag.FlagSet, f *pflag.Flag, values []string, source string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		if err := list.Replace(values); err != nil {
			return &SettingError{source, err}
		}
		f.Changed = true
		return nil
	}
	if err := f.Value.Set(values[0]); err != nil {
		return &SettingError{source, fmt.Errorf("invalid value %q: %w", values[0], err)}
	}
	f.Changed = true
	return nil
}

// scalars returns the value of a YAML node in the form of command-line arguments.
func scalars(f *pflag.Flag, node *yaml.Node) ([]string, error) {
	_, list := f.Value.(pflag.SliceValue)
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag != "!!null":
		return []string{node.Value}, nil
	case node.Kind == yaml.SequenceNode && list:
		values := make([]string, 0, len(node.Content))
		for _, n := range node.Content {
			if n.Kind != yaml.ScalarNode {
				return nil, errors.New("want a list of plain values")
			}
			values = append(values, n.Value)
		}
		return values, nil
	case list:
		return nil, errors.New("want a value or a list of values")
	}
	return nil, errors.New("want one plain value")
}

func read(path string, optional bool) (map[string]yaml.Node, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	keys := map[string]yaml.Node{}
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&keys); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", path, oneLine(err))
	}
	return keys, nil
}

// oneLine returns the text of a YAML error in one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " ")
}
