package cni

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
)

// netnsWatch tells when network namespaces are removed: runtimes bind them to files, which they unlink.
// (Paths in /proc have no such event; there the end of the runtime's plugin process tells.)
type netnsWatch struct {
	// fd is file's. File.Fd would make reads block even after Close.
	fd   int
	file *os.File

	mu sync.Mutex
	// folders are the watched ones, by the watch descriptors of inotify(7).
	folders map[int32]string
	gone    map[string]map[*func()]struct{}
}

func newNetnsWatch() (*netnsWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &netnsWatch{
		fd:      fd,
		file:    os.NewFile(uintptr(fd), "inotify"),
		folders: map[int32]string{},
		gone:    map[string]map[*func()]struct{}{},
	}, nil
}

func (w *netnsWatch) close() { w.file.Close() }

// watch calls gone when path is no namespace any more, perhaps before watch returns.
func (w *netnsWatch) watch(path string, gone func()) (stop func()) {
	path = filepath.Clean(path)
	w.mu.Lock()
	w.watchFolder(filepath.Dir(path))
	if w.gone[path] == nil {
		w.gone[path] = map[*func()]struct{}{}
	}
	w.gone[path][&gone] = struct{}{}
	w.mu.Unlock()
	if !plumb.NetnsAlive(path) {
		gone()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.gone[path], &gone)
		if len(w.gone[path]) == 0 {
			delete(w.gone, path)
		}
	}
}

func (w *netnsWatch) watchFolder(dir string) {
	if strings.HasPrefix(dir, "/proc/") {
		return
	}
	// The same folder gives the same descriptor again.
	wd, err := unix.InotifyAddWatch(w.fd, dir, unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_ONLYDIR)
	if err != nil {
		klog.V(2).InfoS("Cannot watch for the removal of network namespaces", "folder", dir, "err", err)
		return
	}
	w.folders[int32(wd)] = dir
}

// run reads events until close.
func (w *netnsWatch) run() {
	buffer := make([]byte, 16<<10)
	for {
		n, err := w.file.Read(buffer)
		if errors.Is(err, os.ErrClosed) || n <= 0 {
			return
		}
		w.dispatch(buffer[:n])
	}
}

// dispatch decodes struct inotify_event.
func (w *netnsWatch) dispatch(events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		events = events[end:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			w.checkAll()
			continue
		}
		w.mu.Lock()
		if mask&unix.IN_IGNORED != 0 {
			delete(w.folders, wd)
		} else if dir, ok := w.folders[wd]; ok {
			w.check(filepath.Join(dir, name))
		}
		w.mu.Unlock()
	}
}

func (w *netnsWatch) checkAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path := range w.gone {
		w.check(path)
	}
}

// check must be called with mu held.
func (w *netnsWatch) check(path string) {
	if len(w.gone[path]) == 0 || plumb.NetnsAlive(path) {
		return
	}
	for gone := range w.gone[path] {
		(*gone)()
	}
}
