package artifact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// CacheVariable is the environment variable that moves the cache.
const CacheVariable = "OVNKUBE_CACHE"

// Options say where things are and who is told about progress.
type Options struct {
	// Root is the repository's top folder; empty: found from the working directory.
	Root string
	// Cache is the folder that keeps what was built; empty: $OVNKUBE_CACHE, or
	// .cache in Root.
	Cache string
	// Jobs is how many modules are built at the same time; 0: 2. Each build also
	// uses all CPUs while it compiles, a second one fills them while the first links.
	Jobs int
	// Progress is called for each step, never by two goroutines at once; may be nil.
	Progress func(Event)
}

// Event tells of a step that started or ended.
type Event struct {
	// Step and Total count the steps of this call, from 1.
	Step, Total int
	// Name is what is made.
	Name string
	// Done is set at the end of the step.
	Done bool
	// Elapsed is how long a finished step took.
	Elapsed time.Duration
	// Detail says more about the step; may be empty.
	Detail string
}

// String returns the line a person wants to read.
func (e Event) String() string {
	line := e.Name
	if e.Total > 0 {
		line = fmt.Sprintf("[%d/%d] %s", e.Step, e.Total, e.Name)
	}
	if e.Detail != "" {
		line += ": " + e.Detail
	}
	if e.Done {
		return fmt.Sprintf("%s done in %.1fs", line, e.Elapsed.Seconds())
	}
	return line + " ..."
}

// complete fills in the defaults and makes paths absolute.
func (o Options) complete() (Options, error) {
	var err error
	if o.Root == "" {
		if o.Root, err = FindRoot(); err != nil {
			return o, err
		}
	}
	if o.Root, err = filepath.Abs(o.Root); err != nil {
		return o, fmt.Errorf("repository folder: %w", err)
	}
	if o.Cache == "" {
		o.Cache = os.Getenv(CacheVariable)
	}
	if o.Cache == "" {
		o.Cache = filepath.Join(o.Root, ".cache")
	}
	if o.Cache, err = filepath.Abs(o.Cache); err != nil {
		return o, fmt.Errorf("cache folder: %w", err)
	}
	if o.Jobs <= 0 {
		o.Jobs = 2
	}
	progress, mu := o.Progress, &sync.Mutex{}
	o.Progress = func(e Event) {
		if progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		progress(e)
	}
	return o, nil
}

// CacheDir returns the cache folder that o stands for, as an absolute path.
func (o Options) CacheDir() (string, error) {
	o, err := o.complete()
	return o.Cache, err
}

// FindRoot returns the repository's top folder: the nearest one at or above the
// working directory that has test/tools.
func FindRoot() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "test", "tools", "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New(wd + " is not inside the repository (no test/tools/kubernetes/go.mod at or above it): change into it, or set the root")
		}
	}
}
