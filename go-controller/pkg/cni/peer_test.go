package cni

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

// dialAs connects to a socket as a user. The kernel notes the user of the thread that connects.
func dialAs(t *testing.T, user int, socket string) net.Conn {
	t.Helper()
	type outcome struct {
		conn net.Conn
		err  error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // For good: the thread keeps the user, and ends with the goroutine.
		// The plain system call changes this thread alone.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(user), uintptr(user), uintptr(user)); errno != 0 {
			done <- outcome{nil, errno}
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}
		if err != nil {
			done <- outcome{nil, err}
			return
		}
		f := os.NewFile(uintptr(fd), socket)
		defer f.Close()
		conn, err := net.FileConn(f)
		done <- outcome{conn, err}
	}()
	o := <-done
	if o.err != nil {
		t.Fatalf("connect as user %d: %v", user, o.err)
	}
	t.Cleanup(func() { o.conn.Close() })
	return o.conn
}

// The modes of folder and socket keep others away. If somebody opens them, the server still talks to root only.
func TestPeerMustBeRoot(t *testing.T) {
	f, socket := newFixture(t), socketIn(t)
	f.pods.put("ns/p", annotated("u1", dual), false)
	f.serveOn(t, socket)
	for path, mode := range map[string]os.FileMode{filepath.Dir(filepath.Dir(socket)): 0o755, filepath.Dir(socket): 0o755, socket: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		user    int
		refusal string
	}{{65534, "the caller's user is 65534 and not root"}, {0, ""}} { // Root last: what it asks for is carried out.
		user, refusal := c.user, c.refusal
		conn := dialAs(t, user, socket)
		// A server that does not read may close its end first.
		_ = protocol.Write(conn, wire(protocol.Add, sandboxA, "u1"))
		r, err := protocol.ReadResponse(conn)
		switch {
		case err != nil:
			t.Errorf("user %d gets no answer: %v", user, err)
		case refusal == "" && (r.Error != nil || len(r.Result) == 0):
			t.Errorf("root is refused: %v", r.Error)
		case refusal != "" && (r.Error == nil || !strings.Contains(r.Error.Msg, refusal) || r.Result != nil):
			t.Errorf("user %d gets %s, error %v", user, r.Result, r.Error)
		}
		if user != 0 && len(f.kernel.veths) > 0 {
			t.Errorf("a request of user %d was carried out", user)
		}
	}
}

// A request without an end takes a bounded amount of memory and is answered; others are served meanwhile.
func TestEndlessRequest(t *testing.T) {
	f, socket := newFixture(t), socketIn(t)
	f.serveOn(t, socket)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := make(chan struct{})
	go func() {
		_, _ = conn.Write([]byte(`{"version":1,"command":"`))
		close(begin)
		_, _ = io.Copy(conn, io.LimitReader(endless{}, 2*protocol.MaxMessage))
	}()
	<-begin
	if r, err := client(socket).Do(context.Background(), wire(protocol.Del, sandboxB, "")); err != nil || r.Error != nil {
		t.Error("meanwhile:", err, r.Error)
	}
	r, err := protocol.ReadResponse(conn)
	if err != nil || r.Error == nil || !strings.Contains(r.Error.Msg, "longer than") {
		t.Errorf("got %+v, %v", r.Error, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{'x'}, len(p))), nil }
