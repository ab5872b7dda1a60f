//go:build pkcs11

// Package pkcs11test makes PKCS#11 tokens for tests, with SoftHSM 2.
package pkcs11test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	p11 "github.com/miekg/pkcs11"

	"github.com/didcomm-go/didcomm/agent/keyring/pkcs11"
)

// PIN is the user's PIN of the tokens.
const PIN = "48151623"

// modules are the paths of SoftHSM's library on various systems.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/*/softhsm/libsofthsm2.so",
	"/usr/lib64/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// SoftHSM makes an empty token in the folder dir with softhsm2-util, and sets SOFTHSM2_CONF
// for this process. It shuts down SoftHSM in this process, so tokens that were opened before
// must be closed.
func SoftHSM(dir string) (pkcs11.Config, error) {
	module, err := find()
	if err != nil {
		return pkcs11.Config{}, err
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return pkcs11.Config{}, err
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nlog.level = ERROR\n", tokens), 0o600); err != nil {
		return pkcs11.Config{}, err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return pkcs11.Config{}, err
	}
	p := p11.New(module) // it reads its configuration when it is initialized
	if p == nil {
		return pkcs11.Config{}, fmt.Errorf("%s cannot be loaded", module)
	}
	if err := p.Finalize(); err != nil && !errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
		return pkcs11.Config{}, err
	}
	const label = "didcomm test"
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", PIN, "--pin", PIN).CombinedOutput()
	if err != nil {
		return pkcs11.Config{}, fmt.Errorf("softhsm2-util: %w: %s", err, out)
	}
	return pkcs11.Config{Module: module, Token: label, PIN: func() (string, error) { return PIN, nil }}, nil
}

func find() (string, error) {
	if path := os.Getenv("SOFTHSM2_MODULE"); path != "" {
		return path, nil
	}
	for _, pattern := range modules {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errors.New("SoftHSM is missing (libsofthsm2.so; Debian's package is softhsm2): install it, or set SOFTHSM2_MODULE")
}
