// Package config gives the flags of a command the values that its user wrote
// elsewhere: in the environment or in a configuration file. A flag on the
// command line wins over the environment, and the environment over the file.
//
// There is one name for a setting. Flag --public-url is the variable
// DIDCOMM_PUBLIC_URL and the key "public-url" of the file, and all three are
// parsed by the flag itself, so that they cannot disagree about what a value
// means. Call Apply after the flags are parsed.
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

// EnvPrefix begins the name of every environment variable that is read.
const EnvPrefix = "DIDCOMM_"

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// A SettingError is a setting that is wrong: a value that does not parse, or a
// key that no flag has.
type SettingError struct {
	Source string // such as "DIDCOMM_LISTEN" or "config.yaml: listen"
	Err    error
}

// Error says where the setting stands and what is wrong with it.
func (e *SettingError) Error() string { return e.Source + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// EnvName is the environment variable of a flag.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// A Source is where Apply looks besides the command line.
type Source struct {
	// LookupEnv is os.LookupEnv. A variable that is set but empty counts as
	// not set.
	LookupEnv func(string) (string, bool)
	// File is the path of a YAML file, or empty for none.
	File string
	// Optional says that File may be missing.
	Optional bool
	// Known lists the keys that File may hold besides the names of the flags:
	// one file serves several commands, each with flags of its own. Any other
	// key is an error.
	Known []string
}

// Apply sets each flag that the command line left alone: from the environment
// if a variable for it is set, else from the file. A flag that takes several
// values takes a YAML list, and in the environment words separated by spaces.
// Flags named in except are only set by the command line.
//
// A wrong setting is a *SettingError; other errors are about the file.
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

// scalars returns the node's value as the text that the flag would be given.
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

// oneLine joins the lines that a YAML error may have.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " ")
}
