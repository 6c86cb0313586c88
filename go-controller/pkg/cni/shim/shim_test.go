package shim

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

// fakeAgent answers requests at a socket.
type fakeAgent struct {
	t      *testing.T
	socket string
	answer func(n int, conn net.Conn, r protocol.Request)
}

// start listens the way the node agent does: under another name, then renamed.
func (a *fakeAgent) start() net.Listener {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(a.socket), 0o700); err != nil {
		a.t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.socket + ".new", Net: "unix"})
	if err != nil {
		a.t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(a.socket+".new", a.socket); err != nil {
		a.t.Fatal(err)
	}
	go func() {
		requests := 0
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request, err := protocol.ReadRequest(conn)
			if err == nil {
				requests++
				a.answer(requests, conn, request)
			}
			conn.Close()
		}
	}()
	a.t.Cleanup(func() { l.Close() })
	return l
}

func echo(_ int, conn net.Conn, r protocol.Request) {
	protocol.Write(conn, protocol.Response{Version: protocol.Version, Result: []byte(`"` + r.ContainerID + `"`)})
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func add() protocol.Request {
	return protocol.Request{Command: protocol.Add, ContainerID: "abc", Netns: "/n", IfName: "eth0"}
}

func patient(socket string) Client {
	return Client{Socket: socket, Limits: Limits{Total: 20 * time.Second, Agent: 10 * time.Second}}
}

func TestAnswers(t *testing.T) {
	a := &fakeAgent{t: t, socket: filepath.Join(shortDir(t), "s"), answer: echo}
	a.start()
	response, err := patient(a.socket).Do(context.Background(), add())
	if err != nil || string(response.Result) != `"abc"` {
		t.Errorf("got %s, %v", response.Result, err)
	}
}

// A command waits for the agent, and goes on at once when it comes.
func TestWaitsForAgent(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, a *fakeAgent){
		"no socket": func(t *testing.T, a *fakeAgent) {
			if err := os.MkdirAll(filepath.Dir(a.socket), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"no folder":              func(*testing.T, *fakeAgent) {},
		"socket of a dead agent": func(_ *testing.T, a *fakeAgent) { a.start().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a := &fakeAgent{t: t, socket: filepath.Join(shortDir(t), "a", "b", "s"), answer: echo}
			prepare(t, a)
			done := make(chan error, 1)
			go func() {
				_, err := patient(a.socket).Do(context.Background(), add())
				done <- err
			}()
			select {
			case err := <-done:
				t.Fatalf("did not wait: %v", err)
			case <-time.After(maxWait + 100*time.Millisecond): // so that the bound of a wait is not near
			}
			begin := time.Now()
			a.start()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > 600*time.Millisecond {
				t.Errorf("went on %v after the agent came: the event was missed", took)
			}
		})
	}
}

// An agent that dies in the middle of a request is asked again.
func TestCutRequestIsSentAgain(t *testing.T) {
	a := &fakeAgent{t: t, socket: filepath.Join(shortDir(t), "s")}
	a.answer = func(n int, conn net.Conn, r protocol.Request) {
		switch n {
		case 1: // no answer
		case 2: // half an answer
			conn.Write([]byte(`{"version":1,`))
		default:
			echo(n, conn, r)
		}
	}
	a.start()
	response, err := patient(a.socket).Do(context.Background(), add())
	if err != nil || string(response.Result) != `"abc"` {
		t.Errorf("got %s, %v", response.Result, err)
	}
}

func TestGivesUp(t *testing.T) {
	for command, want := range map[string]uint{
		protocol.Add:    types.ErrTryAgainLater,
		protocol.Del:    types.ErrTryAgainLater,
		protocol.Status: types.ErrPluginNotAvailable,
	} {
		t.Run(command, func(t *testing.T) {
			c := Client{Socket: filepath.Join(shortDir(t), "s"), Limits: Limits{Total: 5 * time.Second, Agent: 200 * time.Millisecond}}
			request := add()
			request.Command = command
			begin := time.Now()
			_, err := c.Do(context.Background(), request)
			var cni *types.Error
			if !errors.As(err, &cni) || cni.Code != want {
				t.Errorf("got %v, want code %d", err, want)
			}
			if took := time.Since(begin); took < 150*time.Millisecond || took > 3*time.Second {
				t.Errorf("gave up after %v", took)
			}
		})
	}
}

// An agent that takes requests and never answers does not hold the runtime for ever.
func TestTotalIsBounded(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	a := &fakeAgent{t: t, socket: filepath.Join(shortDir(t), "s"), answer: func(int, net.Conn, protocol.Request) { <-release }}
	a.start()
	c := Client{Socket: a.socket, Limits: Limits{Total: 300 * time.Millisecond, Agent: time.Minute}}
	begin := time.Now()
	if _, err := c.Do(context.Background(), add()); err == nil {
		t.Error("no error")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// The agent learns how long it may take, so that its own error comes first.
func TestPassesTimeout(t *testing.T) {
	got := make(chan time.Duration, 1)
	a := &fakeAgent{t: t, socket: filepath.Join(shortDir(t), "s"), answer: func(n int, conn net.Conn, r protocol.Request) {
		got <- r.Timeout()
		echo(n, conn, r)
	}}
	a.start()
	if _, err := patient(a.socket).Do(context.Background(), add()); err != nil {
		t.Fatal(err)
	}
	if timeout := <-got; timeout <= 0 || timeout > 20*time.Second-replyMargin {
		t.Errorf("the agent was given %v", timeout)
	}
}

// kubelet's limits are four minutes for the creation of a sandbox and two for all else.
func TestLimitsAreBelowKubelets(t *testing.T) {
	for command, kubelet := range map[string]time.Duration{
		protocol.Add: 4 * time.Minute, protocol.Del: 2 * time.Minute, protocol.Check: 2 * time.Minute,
		protocol.GC: 2 * time.Minute, protocol.Status: 2 * time.Minute,
	} {
		if l := LimitsOf(command); l.Total > kubelet-10*time.Second || l.Agent > l.Total || l.Agent < 5*time.Second {
			t.Errorf("%s: %+v", command, l)
		}
	}
}

// Who reads the kubelet's event is led to the agents' pods.
func TestSaysWhereAgentsAre(t *testing.T) {
	err := Client{Socket: "/nowhere"}.unavailable(protocol.Add, os.ErrNotExist)
	var cni *types.Error
	if want := "-l app.kubernetes.io/name=ovnkube,app.kubernetes.io/component=node"; !errors.As(err, &cni) || !strings.HasSuffix(cni.Details, want) {
		t.Errorf("%v, want %q at its end", err, want)
	}
}
