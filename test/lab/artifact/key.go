package artifact

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// keyLength is how many hexadecimal digits of a key are used in folder names.
const keyLength = 16

// item is an artifact of a particular version.
type item struct {
	Artifact
	// dir is the module's folder.
	dir string
	// version is that of the module VersionOf.
	version string
	// key identifies everything that decides the artifact's content.
	key string
}

// module is what a key needs to know about a module folder.
type module struct {
	dir, toolchain string
	goMod, goSum   []byte
	// sources are the module's own Go files, name and content.
	sources []byte
}

// resolve reads the modules of the artifacts and computes the keys.
func resolve(ctx context.Context, o Options, list []Artifact) ([]item, error) {
	modules := map[string]module{}
	items := make([]item, 0, len(list))
	for _, a := range list {
		m, ok := modules[a.Module]
		if !ok {
			var err error
			if m, err = readModule(ctx, filepath.Join(o.Root, "test", "tools", a.Module)); err != nil {
				return nil, fmt.Errorf("module of %s: %w", a.Name, err)
			}
			modules[a.Module] = m
		}
		it := item{Artifact: a, dir: m.dir}
		if a.VersionOf != "" {
			if it.version = requiredVersion(m.goMod, a.VersionOf); it.version == "" {
				return nil, fmt.Errorf("%s: %s/go.mod does not require %s", a.Name, m.dir, a.VersionOf)
			}
		}
		it.key = it.computeKey(m)
		items = append(items, it)
	}
	return items, nil
}

// readModule reads what decides the content of a module's artifacts.
func readModule(ctx context.Context, dir string) (module, error) {
	m := module{dir: dir}
	var err error
	if m.goMod, err = os.ReadFile(filepath.Join(dir, "go.mod")); err != nil {
		return m, err
	}
	if m.goSum, err = os.ReadFile(filepath.Join(dir, "go.sum")); err != nil {
		return m, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return m, err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return m, err
		}
		m.sources = append(append(append(m.sources, filepath.Base(file)...), 0), data...)
	}
	// Asked inside the module, because its go line may select another toolchain.
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOEXPERIMENT")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), goEnv()...)
	out, err := cmd.Output()
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return m, fmt.Errorf("no go command in PATH: install Go from https://go.dev/dl: %w", err)
		}
		return m, fmt.Errorf("go env in %s: %w", dir, err)
	}
	m.toolchain = string(out)
	return m, nil
}

// goEnv keeps settings of the user's environment from changing a build.
func goEnv() []string { return []string{"GOFLAGS=", "GOWORK=off"} }

// computeKey returns a digest of all inputs: every version by go.mod and go.sum,
// the toolchain, and the command line.
func (it item) computeKey(m module) string {
	h := sha256.New()
	for _, part := range []string{string(m.goMod), string(m.goSum), string(m.sources), m.toolchain,
		strings.Join(it.buildArgs("OUT", "SRC"), "\x00"), strings.Join(it.buildEnv(), "\x00")} {
		h.Write(fmt.Appendf(nil, "%d:%s", len(part), part))
	}
	return hex.EncodeToString(h.Sum(nil))[:keyLength]
}

// requiredVersion returns the version of a module that go.mod requires, or "".
func requiredVersion(goMod []byte, path string) string {
	s := bufio.NewScanner(bytes.NewReader(goMod))
	for s.Scan() {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(s.Text()), "require "))
		if len(f) >= 2 && f[0] == path && strings.HasPrefix(f[1], "v") {
			return f[1]
		}
	}
	return ""
}
