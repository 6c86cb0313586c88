// Package bundle puts into one archive what somebody needs who is to find out from afar what is wrong with a cluster's network, without its secrets.
package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
)

// Limits, in bytes before compression.
const (
	// DefaultSize is that of the whole.
	DefaultSize  = 512 << 20
	fileSize     = 16 << 20
	databaseSize = 64 << 20
	logSize      = 4 << 20
)

// atOnce is how many files are made at once; each is in memory until it is written.
const atOnce = 4

// patience is how long a file may take.
const patience = 90 * time.Second

// Options are where from, and where to.
type Options struct {
	Client kubernetes.Interface
	Access access.Access
	// Namespace is that of the network's pods.
	Namespace string
	// Nodes are those that are looked into; none means all.
	Nodes []string
	// Size is the most that the files may have together, in bytes, before compression.
	Size int64
	// Status writes what kubectl ovn status says.
	Status func(ctx context.Context, to io.Writer) error
	// Version is that of the program.
	Version string
	Now     func() time.Time
	// Progress tells people what has been done; done of all files.
	Progress func(done, all int, name string)
}

// File is what the manifest says of a file.
type File struct {
	Name string `json:"name"`
	// From is the command or the request that it comes from.
	From string `json:"from"`
	// Bytes is its size in the archive; zero where there is none.
	Bytes int `json:"bytes"`
	// Truncated: it was longer; the rest is missing.
	Truncated bool `json:"truncated,omitempty"`
	// Missing is why it is not there, or not whole.
	Missing string  `json:"missing,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Manifest is the list of what is in the archive, and of what could not be got.
type Manifest struct {
	Made    time.Time `json:"made"`
	Program string    `json:"program"`
	Cluster string    `json:"cluster"`
	Files   []File    `json:"files"`
}

// Missing are the files that could not be got.
func (m *Manifest) Missing() []File {
	return slices.DeleteFunc(slices.Clone(m.Files), func(f File) bool { return f.Missing == "" })
}

// Bytes is the size of all files, before compression.
func (m *Manifest) Bytes() (n int) {
	for _, f := range m.Files {
		n += f.Bytes
	}
	return n
}

// source makes a file.
type source struct {
	name, from string
	limit      int
	// write writes the file. What it has written before it fails is kept.
	write func(ctx context.Context, to io.Writer) error
}

// writer makes the archive.
type writer struct {
	Options
	scrub *scrubber
	root  string

	mu       sync.Mutex
	tar      *tar.Writer
	written  int64
	manifest *Manifest
}

// Write makes the archive, a tar in gzip. What cannot be got is in the manifest, and no error.
func Write(ctx context.Context, o Options, to io.Writer) (*Manifest, error) {
	packed := gzip.NewWriter(to)
	w := &writer{Options: o, scrub: newScrubber(), root: "ovnkube-bundle", tar: tar.NewWriter(packed), manifest: &Manifest{Made: o.Now().UTC(), Program: o.Version}}
	if v, err := o.Client.Discovery().ServerVersion(); err == nil {
		w.manifest.Cluster = v.GitVersion
	}
	sources, problems := o.sources(ctx)
	w.manifest.Files = problems
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, s := range sources {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return w.file(ctx, s, len(sources))
		})
	}
	err := group.Wait()
	if err == nil {
		err = w.finish()
	}
	if err = errors.Join(err, w.tar.Close(), packed.Close()); err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	return w.manifest, nil
}

// file makes a file and puts it into the archive.
func (w *writer) file(ctx context.Context, s source, all int) error {
	begun := time.Now()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	content := &capped{limit: cmp.Or(s.limit, fileSize)}
	err := s.write(limited, content)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := w.scrub.text(content.kept.Bytes())
	f := File{Name: s.name, From: string(w.scrub.text([]byte(s.from))), Bytes: len(text), Truncated: content.full, Seconds: time.Since(begun).Seconds()}
	if err != nil && !content.full {
		f.Missing = string(w.scrub.text([]byte(err.Error())))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.written+int64(len(text)) > w.Size {
		f.Bytes, f.Truncated, f.Missing = 0, false, "the archive is as large as it may become"
	} else if len(text) > 0 {
		if err := w.put(s.name, text); err != nil {
			return err
		}
		w.written += int64(len(text))
	}
	w.manifest.Files = append(w.manifest.Files, f)
	w.Progress(len(w.manifest.Files), all, s.name)
	return nil
}

func (w *writer) put(name string, content []byte) error {
	h := &tar.Header{Name: path.Join(w.root, name), Mode: 0o600, Size: int64(len(content)), ModTime: w.manifest.Made}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.tar.Write(content)
	return err
}

// finish writes the manifest, last: it tells of all others.
func (w *writer) finish() error {
	slices.SortFunc(w.manifest.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return err
	}
	return w.put("manifest.json", append(text, '\n'))
}

// errFull ends what writes more than there is room for.
var errFull = errors.New("longer than a file may be")

// capped keeps the beginning of what is written.
type capped struct {
	kept  bytes.Buffer // Not embedded: its other methods know no limit.
	limit int
	full  bool
}

// Write fails when the limit is reached.
func (c *capped) Write(p []byte) (int, error) {
	if room := c.limit - c.kept.Len(); len(p) > room {
		c.full = true
		_, _ = c.kept.Write(p[:room])
		return room, errFull
	}
	return c.kept.Write(p)
}
