package artifact

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildArgs returns the command that makes the artifact. source is used by a
// CProgram only.
func (it item) buildArgs(out, source string) []string {
	if it.Kind == CProgram {
		return []string{"gcc", "-Os", "-Wall", "-static", "-s", "-DVERSION=" + it.version, "-o", out, source}
	}
	ld := []string{"-s", "-w"}
	if it.stamp != nil {
		ld = append(ld, it.stamp(it.version)...)
	}
	ld = append(ld, it.linkFlags...)
	args := []string{"go", "build"}
	if it.Kind == TestBinary {
		args = []string{"go", "test", "-c"}
	}
	args = append(args, "-mod=readonly", "-buildvcs=false", "-trimpath")
	if len(it.Tags) > 0 {
		args = append(args, "-tags="+strings.Join(it.Tags, ","))
	}
	return append(args, "-ldflags="+strings.Join(ld, " "), "-o", out, it.Package)
}

// buildEnv returns what the build adds to the environment.
func (it item) buildEnv() []string {
	if it.Kind == CProgram {
		return nil
	}
	if it.Cgo {
		return append(goEnv(), "CGO_ENABLED=1")
	}
	return append(goEnv(), "CGO_ENABLED=0")
}

// build makes the artifact in a temporary folder and moves it to its place when it is complete.
func (it item) build(ctx context.Context, cache string) error {
	tmp, err := os.MkdirTemp(binDir(cache), tmpPrefix+it.Name+"-")
	if err != nil {
		return fmt.Errorf("build %s: %w", it.Name, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("build %s: %w", it.Name, err)
	}
	source := ""
	if it.Kind == CProgram {
		dir, err := moduleDir(ctx, it.dir, it.VersionOf)
		if err != nil {
			return fmt.Errorf("build %s: %w", it.Name, err)
		}
		source = filepath.Join(dir, it.Package)
	}
	step := Step{Name: "build " + it.Name, Dir: it.dir, Env: it.buildEnv(),
		Args: it.buildArgs(filepath.Join(tmp, it.Name), source), Log: filepath.Join(cache, "log", "build-"+it.Name+".log")}
	if err := step.Run(ctx); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Dir(it.path(cache))); err != nil {
		return fmt.Errorf("build %s: %w", it.Name, err)
	}
	return nil
}

// binDir is the cache's folder of executables.
func binDir(cache string) string { return filepath.Join(cache, "bin") }

// path is where the artifact lies when it has been built.
func (it item) path(cache string) string {
	return filepath.Join(binDir(cache), it.Name+"-"+it.key, it.Name)
}

// built tells whether the artifact is in the cache.
func (it item) built(cache string) bool {
	_, err := os.Stat(it.path(cache))
	return err == nil
}

// ModuleDir returns the folder with the sources of the Go module path, in the version
// that test/tools/<module> pins; it is downloaded when it is not there.
func ModuleDir(ctx context.Context, o Options, module, path string) (string, error) {
	o, err := o.complete()
	if err != nil {
		return "", err
	}
	return moduleDir(ctx, filepath.Join(o.Root, "test", "tools", module), path)
}

func moduleDir(ctx context.Context, dir, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), goEnv()...)
	out, err := cmd.Output()
	var reply struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &reply); err == nil {
		err = jsonErr
	}
	if err != nil || reply.Error != "" {
		return "", fmt.Errorf("download of module %s (go mod download in %s): %w %s", path, dir, err, reply.Error)
	}
	return reply.Dir, nil
}
