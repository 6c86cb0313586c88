//go:build integration

package probe_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/scale/probe"
)

const here = "/proc/self/ns/net"

func greeter(t *testing.T, at string, greeting byte) (*probe.Greeter, netip.AddrPort) {
	t.Helper()
	to := netip.MustParseAddrPort(at)
	g, err := probe.Greet(traffic.Place{Name: "here", NetNS: here}, to, greeting)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g, to
}

func TestAnswerIsThatOfTheWantedServer(t *testing.T) {
	_, to := greeter(t, "127.0.0.1:17101", 'a')
	a, err := probe.Answer(t.Context(), here, to, nil)
	if err != nil || a.Greeting != 'a' || a.Outcome != probe.Answered || a.End.Before(a.Begin) {
		t.Errorf("got %+v, %v", a, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if a, err := probe.Answer(ctx, here, to, func(a probe.Attempt) bool { return a.Greeting == 'b' }); err == nil {
		t.Errorf("nobody greets with b, but %+v counted", a)
	}
}

func TestAnswerWaitsForAServer(t *testing.T) {
	to := netip.MustParseAddrPort("127.0.0.1:17102")
	type answer struct {
		a   probe.Attempt
		err error
	}
	got := make(chan answer, 1)
	go func() {
		a, err := probe.Answer(t.Context(), here, to, nil)
		got <- answer{a, err}
	}()
	time.Sleep(50 * time.Millisecond)
	before := time.Now()
	greeter(t, to.String(), 'x')
	if r := <-got; r.err != nil || r.a.End.Before(before) {
		t.Errorf("answered at %v, before the server was there at %v (%v)", r.a.End, before, r.err)
	}
}

func TestSilenceBeginsWhenTheServerGoes(t *testing.T) {
	g, to := greeter(t, "127.0.0.1:17103", 'x')
	gone := make(chan time.Time, 1)
	time.AfterFunc(100*time.Millisecond, func() { before := time.Now(); g.Close(); gone <- before })
	first, err := probe.Silence(t.Context(), here, to)
	if err != nil {
		t.Fatal(err)
	}
	if before := <-gone; first.End.Before(before) || first.Outcome != probe.Refused {
		t.Errorf("silent with %+v, but the server went at %v", first, before)
	}
}

func TestAllWaitsForTheLast(t *testing.T) {
	_, one := greeter(t, "127.0.0.1:17104", '1')
	last := netip.MustParseAddrPort("127.0.0.1:17105")
	began := make(chan time.Time, 1)
	time.AfterFunc(50*time.Millisecond, func() { began <- time.Now(); greeter(t, last.String(), '2') })
	end, err := probe.All(t.Context(), here, []netip.AddrPort{one, last})
	if err != nil {
		t.Fatal(err)
	}
	if b := <-began; end.Before(b) {
		t.Errorf("all answered at %v, before the last server began at %v", end, b)
	}
}
