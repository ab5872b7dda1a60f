package peer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// MavenConfig says how to install a peer for the JVM.
type MavenConfig struct {
	Folder   string // of pom.xml with exact pins, and Peer.java
	Artifact string // the one of the peer's library, GROUP:NAME
	Cache    string // folder that holds a folder for each pom.xml
	Oldest   int    // release of Java that the program needs at least
}

// Maven returns the path of java and the class path with the pinned artifacts,
// to start the program with as java -cp CLASSPATH Peer.java. The artifacts are
// in a folder of the cache, whose name has the hash of pom.xml and of Java's version. Maven
// fills the folder if it is not there yet. Several processes may call Maven at the same time.
// The error matches ErrToolchain if there is no suitable java, javac or mvn, or if artifacts
// cannot be fetched. It also matches ErrArtifact if the registry does not have Artifact.
func Maven(ctx context.Context, cfg MavenConfig) (java, classpath string, err error) {
	manifest := filepath.Join(cfg.Folder, "pom.xml")
	pom, err := os.ReadFile(manifest)
	if err != nil {
		return "", "", err
	}
	java, release, mvn, err := findJava(ctx, cfg.Oldest)
	if err != nil {
		return "", "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%s/%s\n", release, runtime.GOOS, runtime.GOARCH)
	hash.Write(pom)
	name := fmt.Sprintf("%s-%x", filepath.Base(cfg.Folder), hash.Sum(nil)[:8])
	dir, err := cached(cfg.Cache, name, isDir, func(fresh string) error {
		// -U asks again for what was not found last time.
		out, err := command(ctx, mvn, "--batch-mode", "--quiet", "-U", "--file", manifest,
			"dependency:copy-dependencies", "-DoutputDirectory="+fresh)
		if err == nil {
			return nil
		}
		class := ErrToolchain
		if strings.Contains(out, "Could not find artifact "+cfg.Artifact+":") {
			class = ErrArtifact
		}
		return fmt.Errorf("%w: mvn dependency:copy-dependencies: %w: %s", class, err, out)
	})
	return java, filepath.Join(dir, "*"), err
}

// findJava returns the path and version of a Java that can compile, and the path
// of Maven.
func findJava(ctx context.Context, oldest int) (java, release, mvn string, err error) {
	for name, path := range map[string]*string{"java": &java, "javac": new(string), "mvn": &mvn} {
		if *path, err = exec.LookPath(name); err != nil {
			return "", "", "", fmt.Errorf("%w: %w", ErrToolchain, err)
		}
	}
	release, err = command(ctx, java, "--version")
	if err != nil {
		return "", "", "", fmt.Errorf("%w: java --version: %w: %s", ErrToolchain, err, release)
	}
	// openjdk 17.0.15 2025-04-15
	fields := append(strings.Fields(release), "", "")
	major, _, _ := strings.Cut(fields[1], ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return "", "", "", fmt.Errorf("%w: no Java %d or newer but %s %s", ErrToolchain, oldest, fields[0], fields[1])
	}
	return java, release, mvn, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
