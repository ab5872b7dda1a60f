//go:build interop

package peer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// Two runs at once make one folder, which a third uses again; an artifact that
// the registry does not have has an error of its own, and leaves nothing.
func TestMaven(t *testing.T) {
	cfg := peer.MavenConfig{
		Folder:   filepath.Join(t.TempDir(), "some-peer"),
		Artifact: "org.hamcrest:hamcrest",
		Cache:    filepath.Join(t.TempDir(), "cache"),
		Oldest:   11,
	}
	if err := os.Mkdir(cfg.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(version string) {
		pom := fmt.Sprintf(`<project><modelVersion>4.0.0</modelVersion>
			<groupId>interop</groupId><artifactId>some-peer</artifactId><version>1</version><packaging>pom</packaging>
			<dependencies><dependency>
				<groupId>org.hamcrest</groupId><artifactId>hamcrest</artifactId><version>%s</version>
			</dependency></dependencies>
			<build><plugins><plugin>
				<groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version>
			</plugin></plugins></build></project>`, version)
		if err := os.WriteFile(filepath.Join(cfg.Folder, "pom.xml"), []byte(pom), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2.2")
	var wg sync.WaitGroup
	paths, errs := make([]string, 2), make([]error, 2)
	for i := range paths {
		wg.Go(func() { _, paths[i], errs[i] = peer.Maven(t.Context(), cfg) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if errors.Is(err, peer.ErrToolchain) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil || paths[0] != paths[1] {
		t.Fatalf("%q, %v", paths, err)
	}
	jar := filepath.Join(filepath.Dir(paths[0]), "hamcrest-2.2.jar")
	before, err := os.Stat(jar)
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := peer.Maven(t.Context(), cfg); err != nil || again != paths[0] {
		t.Errorf("again: %q, %v", again, err)
	}
	if after, err := os.Stat(jar); err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder was made again: %v", err)
	}
	write("0.0.0-no-such-version")
	if _, other, err := peer.Maven(t.Context(), cfg); !errors.Is(err, peer.ErrArtifact) || errors.Is(err, peer.ErrToolchain) {
		t.Errorf("an artifact that is nowhere: %q, %v", other, err)
	}
	cfg.Oldest = 999
	if _, _, err := peer.Maven(t.Context(), cfg); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("a Java that is too old: %v", err)
	}
	entries, err := os.ReadDir(cfg.Cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("cache holds %v, %v", entries, err)
	}
}
