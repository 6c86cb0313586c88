//go:build integration

package ovsport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// fixture is a table on a real ovsdb-server behind a proxy that can be cut.
type fixture struct {
	*Table
	server *ovsdbtest.Server
	proxy  *ovsdbtest.Proxy
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	server := ovsdbtest.Start(t, ovsdbtest.VSwitch())
	server.Ctl("init")
	proxy := ovsdbtest.StartProxy(t, server)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	table, err := Connect(ctx, []string{proxy.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Table: table, server: server, proxy: proxy}
}

// makeBridge makes the integration bridge and waits until the table knows it.
func (f *fixture) makeBridge(t *testing.T) {
	t.Helper()
	f.server.Ctl("add-br", "br-int")
	await(t, "the bridge", f.HasBridge)
}

func (f *fixture) ports() string {
	return strings.Join(strings.Fields(f.server.Ctl("list-ports", "br-int")), " ")
}

func port(n int) Port {
	return Port{
		Name: fmt.Sprintf("veth%d", n), LogicalPort: fmt.Sprintf("ns_pod%d", n), LogicalPortVersion: "uid", MAC: "0a:58:00:00:00:01",
		Addresses: []string{"10.128.0.5/23"}, Sandbox: fmt.Sprintf("sandbox%d", n), PodInterface: "eth0",
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A port costs one transaction, and one that is there already none.
func TestAddIsOneTransaction(t *testing.T) {
	f := newFixture(t)
	f.makeBridge(t)
	old := port(1)
	old.Name = "old"
	if err := f.Add(soon(t), old); err != nil {
		t.Fatal(err)
	}
	before := f.server.Transactions()
	for range 2 {
		if err := f.Add(soon(t), port(1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.server.Transactions() - before; n != 1 {
		t.Errorf("%d transactions", n)
	}
	if got := f.ports(); got != "veth1" {
		t.Errorf("ports are %q: the one for the same logical port was to be replaced", got)
	}
	if s, ok := f.Get("veth1"); !ok || len(s.Differences(port(1))) > 0 {
		t.Errorf("got %+v: %v", s, s.Differences(port(1)))
	}
}

// Under a burst ports share transactions.
func TestBurstSharesTransactions(t *testing.T) {
	f := newFixture(t)
	f.makeBridge(t)
	const many = 100
	before := f.server.Transactions()
	var wg sync.WaitGroup
	add := func(n int) {
		wg.Go(func() {
			if err := f.Add(soon(t), port(n)); err != nil {
				t.Error(err)
			}
		})
	}
	// The first is under way, its answer kept back, while the others come.
	f.proxy.Hold()
	add(0)
	await(t, "the first transaction", func() bool { return f.server.Transactions() > before })
	for n := 1; n < many; n++ {
		add(n)
	}
	await(t, "the others in the queue", func() bool { return f.writer.waiting() == many-1 })
	f.proxy.Release()
	wg.Wait()
	if n := f.server.Transactions() - before; n != 2 {
		t.Errorf("%d transactions for %d ports", n, many)
	}
	if got := len(f.List()); got != many {
		t.Errorf("%d ports", got)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not come: %s", what)
		}
	}
}

func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// One port that the database refuses fails nobody else's.
func TestRefusedPortIsAlone(t *testing.T) {
	f := newFixture(t)
	f.makeBridge(t)
	f.server.Ctl("add-br", "br-other")
	f.server.Ctl("add-port", "br-other", "veth3")
	batch := make([]*pending, 6)
	for n := range batch {
		p := port(n)
		batch[n] = &pending{change: change{add: &p}, ctx: soon(t), done: make(chan error, 1)}
	}
	f.writer.commit(soon(t), batch)
	for n, p := range batch {
		if err := <-p.done; (err != nil) != (n == 3) {
			t.Errorf("port %d: %v", n, err)
		}
	}
	if got := f.ports(); got != "veth0 veth1 veth2 veth4 veth5" {
		t.Errorf("ports are %q", got)
	}
}

func TestAddWaitsForBridge(t *testing.T) {
	f := newFixture(t)
	done := make(chan error, 1)
	go func() { done <- f.Add(soon(t), port(1)) }()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	f.makeBridge(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestErrorNamesTheMissingBridge(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := f.Add(ctx, port(1)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errNoBridge) {
		t.Errorf("got %v", err)
	}
}

// A transaction whose outcome nobody heard of is not made twice.
func TestLostConnection(t *testing.T) {
	f := newFixture(t)
	f.makeBridge(t)
	f.proxy.Mute()
	before := f.server.Transactions()
	done := make(chan error, 1)
	go func() { done <- f.Add(soon(t), port(1)) }()
	await(t, "the transaction", func() bool { return f.server.Transactions() > before })
	f.proxy.Cut()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := f.server.Transactions() - before; n != 1 {
		t.Errorf("%d transactions", n)
	}
}

func TestWaitInstalled(t *testing.T) {
	f := newFixture(t)
	f.makeBridge(t)
	if err := f.Add(soon(t), port(1)); err != nil {
		t.Fatal(err)
	}
	wait := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() { done <- f.WaitInstalled(ctx, "veth1") }()
		return done
	}
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := <-wait(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ovs-vswitchd has not taken the port up") {
		t.Errorf("got %v", err)
	}
	f.server.Ctl("set", "Interface", "veth1", "ofport=7")
	short, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := <-wait(short); err == nil || !strings.Contains(err.Error(), "ovn-controller has not set ovn-installed") {
		t.Errorf("got %v", err)
	}
	done := wait(soon(t))
	f.server.Ctl("set", "Interface", "veth1", "external_ids:ovn-installed=true")
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.server.Ctl("remove", "Interface", "veth1", "external_ids", "ovn-installed")
	done = wait(soon(t))
	// The event may still be under way when the wait begins.
	f.server.Ctl("del-port", "veth1")
	if err := <-done; err != nil && !errors.Is(err, ErrRemoved) {
		t.Errorf("got %v", err)
	}
	if err := <-wait(soon(t)); !errors.Is(err, ErrRemoved) {
		t.Errorf("got %v", err)
	}
}

func TestRemove(t *testing.T) {
	f := newFixture(t)
	f.makeBridge(t)
	for n := range 3 {
		if err := f.Add(soon(t), port(n)); err != nil {
			t.Fatal(err)
		}
	}
	before := f.server.Transactions()
	for range 2 {
		if err := f.Remove(soon(t), "veth0", "veth2", "never"); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.server.Transactions() - before; n != 1 {
		t.Errorf("%d transactions", n)
	}
	if got := f.ports(); got != "veth1" {
		t.Errorf("ports are %q", got)
	}
}

func TestSync(t *testing.T) {
	f := newFixture(t)
	done := make(chan error, 1)
	go func() { done <- f.Sync(soon(t)) }()
	await(t, "the request", func() bool { return strings.TrimSpace(f.server.Ctl("get", "Open_vSwitch", ".", "next_cfg")) == "1" })
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	f.server.Ctl("set", "Open_vSwitch", ".", "cur_cfg=1") // as ovs-vswitchd does
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := f.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ovs-vswitchd") {
		t.Errorf("got %v", err)
	}
}
