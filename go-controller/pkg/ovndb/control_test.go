package ovndb

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A program is asked at the socket of the process that runs now; one that is gone, however it went, gives no answer.
func TestAskProgram(t *testing.T) {
	dir, err := os.MkdirTemp("", "ctl") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ask := func() (string, error) { return AskProgram(t.Context(), dir, "ovn-northd", "status") }
	if _, err := ask(); err == nil {
		t.Error("a program that never ran answers")
	}
	if err := os.WriteFile(filepath.Join(dir, "ovn-northd.pid"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "ovn-northd.7.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that is killed
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := bufio.NewReader(conn).ReadString('}'); err == nil {
			_, _ = conn.Write([]byte(`{"id":0,"result":"Status: active\n","error":null}`))
		}
	}()
	if answer, err := ask(); err != nil || answer != "Status: active\n" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err == nil {
		t.Error("a program that was killed answers")
	}
}
