package artifact

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// tmpPrefix starts the names of unfinished folders in the cache.
const tmpPrefix = ".tmp-"

// Ensure builds what is missing of the named artifacts (no names: GroupLab) and
// returns where they are. A second call at the same time, by any process, waits for
// the first and reuses its work. A failed build is a *StepError; what had been
// finished stays in the cache.
func Ensure(ctx context.Context, o Options, names ...string) (Set, error) {
	o, err := o.complete()
	if err != nil {
		return Set{}, err
	}
	if len(names) == 0 {
		names = Names(GroupLab)
	}
	list, err := pick(names)
	if err != nil {
		return Set{}, err
	}
	return ensureList(ctx, o, list)
}

// ensureList is Ensure for any artifacts, with completed options.
func ensureList(ctx context.Context, o Options, list []Artifact) (Set, error) {
	items, err := resolve(ctx, o, list)
	if err != nil {
		return Set{}, err
	}
	set := newSet(o.Cache, items)
	if len(missing(o.Cache, items)) == 0 && set.linked() {
		return set, nil
	}
	if err := buildMissing(ctx, o, items); err != nil {
		return Set{}, err
	}
	return set, nil
}

// missing returns those of the items that are not in the cache.
func missing(cache string, items []item) []item {
	var list []item
	for _, it := range items {
		if !it.built(cache) {
			list = append(list, it)
		}
	}
	return list
}

// buildMissing builds and links what is not in the cache, alone under the cache's lock.
func buildMissing(ctx context.Context, o Options, items []item) error {
	release, err := lock(ctx, filepath.Join(binDir(o.Cache), ".lock"), func(holder string) {
		o.Progress(Event{Name: "waiting for process " + holder + ", which builds into the same cache"})
	})
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer release()
	if err := removeUnfinished(binDir(o.Cache)); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if err := buildAll(ctx, o, missing(o.Cache, items)); err != nil {
		return err
	}
	return newSet(o.Cache, items).link(o.Cache)
}

// buildAll builds the modules next to each other and the artifacts of a module
// one after the other: they share most packages, and two builds at once would
// compile these twice.
func buildAll(ctx context.Context, o Options, items []item) error {
	var step atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Jobs)
	for _, lane := range lanes(items) {
		g.Go(func() error {
			for _, it := range lane {
				e := Event{Step: int(step.Add(1)), Total: len(items), Name: it.Name, Detail: it.version}
				o.Progress(e)
				start := time.Now()
				if err := it.build(ctx, o.Cache); err != nil {
					return err
				}
				e.Done, e.Elapsed = true, time.Since(start)
				o.Progress(e)
			}
			return nil
		})
	}
	return g.Wait()
}

// lanes groups the items by module, in the order in which modules first appear.
func lanes(items []item) [][]item {
	var list [][]item
	for _, it := range items {
		i := slices.IndexFunc(list, func(lane []item) bool { return lane[0].Module == it.Module })
		if i < 0 {
			list = append(list, nil)
			i = len(list) - 1
		}
		list[i] = append(list[i], it)
	}
	return list
}

// removeUnfinished removes what an earlier run that was killed has left. The
// caller holds the folder's lock.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tmpPrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
