package health

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

// maxVerbosity is more than anything in the code asks for.
const maxVerbosity = 20

// Debug serves, on a unix socket that only its owner may use, what helps to look into a running process: profiles as of
// net/http/pprof under /debug/pprof/, and the log's verbosity at /debug/flags/v, to be read (GET) and set (PUT).
type Debug struct {
	// Socket is the path; with an empty one Run only waits for its context.
	Socket string
}

// Run serves until ctx ends. A socket that cannot be had, because another process has it or there is no right to make it, is
// logged: nothing depends on it.
func (d *Debug) Run(ctx context.Context) {
	if d.Socket == "" {
		return
	}
	listener, err := d.listen(ctx)
	if err != nil {
		klog.InfoS("No debug socket", "reason", err.Error())
		return
	}
	server := &http.Server{Handler: debugHandler(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // a profile that is being taken is cut; the listener removes its socket
	klog.V(2).InfoS("Serving profiles and the log's verbosity", "socket", d.Socket)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		klog.ErrorS(err, "Debug socket has failed", "socket", d.Socket)
	}
}

// listen takes the place of a process that is no more.
func (d *Debug) listen(ctx context.Context) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(d.Socket), 0o700); err != nil {
		return nil, fmt.Errorf("folder of the debug socket: %w", err)
	}
	if info, err := os.Lstat(d.Socket); err == nil && info.Mode().Type() == os.ModeSocket {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.Socket)
		if err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("another process serves %s", d.Socket)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			if err := os.Remove(d.Socket); err != nil {
				return nil, fmt.Errorf("debug socket of a former process: %w", err)
			}
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", d.Socket)
	if err != nil {
		return nil, fmt.Errorf("debug socket: %w", err)
	}
	if err := os.Chmod(d.Socket, 0o600); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("debug socket: %w", err)
	}
	return listener, nil
}

func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/flags/v", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, verbosity()) })
	mux.HandleFunc("PUT /debug/flags/v", putVerbosity)
	return mux
}

// verbosity is the highest level that is logged.
func verbosity() int {
	var flags flag.FlagSet
	klog.InitFlags(&flags)
	n, err := strconv.Atoi(flags.Lookup("v").Value.String())
	if err != nil {
		return 0
	}
	return n
}

// SetVerbosity sets the level up to which messages are logged.
func SetVerbosity(level int) error {
	if level < 0 || level > maxVerbosity {
		return fmt.Errorf("verbosity %d is not between 0 and %d", level, maxVerbosity)
	}
	var v klog.Level
	return v.Set(strconv.Itoa(level))
}

func putVerbosity(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	level, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err == nil {
		before := verbosity()
		if err = SetVerbosity(level); err == nil {
			klog.InfoS("The log's verbosity was changed", "from", before, "to", level)
			fmt.Fprintln(w, level)
			return
		}
	}
	http.Error(w, fmt.Sprintf("want a number between 0 and %d: %v", maxVerbosity, err), http.StatusBadRequest)
}
