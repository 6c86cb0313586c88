//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/harness"
)

// nbLog is the northbound database's file: a log of transactions.
const nbLog = "/var/lib/ovn/ovnnb_db.db"

// transactions counts those that the database has seen from others than northd.
func (e *env) transactions() int {
	e.Helper()
	t, err := harness.ReadTransactions(e.path(plan.ControlPlane, nbLog))
	e.must(err)
	return t.Master
}

// quiet waits until nobody has written for two seconds.
func (e *env) quiet() int {
	e.Helper()
	e.masterReady()
	last, since := e.transactions(), time.Now()
	e.eventually(func() error {
		if n := e.transactions(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Errorf("transactions go on: %d so far", last)
		}
		return nil
	})
	return last
}

func testIdleMasterRestart(e *env) {
	for _, n := range e.Nodes() {
		e.start("pod-"+n, onNode(n), pausing)
	}
	before := e.quiet()
	for _, how := range []struct {
		name    string
		restart func(component, machine string)
	}{{"restarted", e.restart}, {"killed", func(c, m string) { e.kill(c, m) }}} {
		began := time.Now()
		how.restart(plan.Master, plan.ControlPlane)
		e.masterReady()
		took := time.Since(began)
		time.Sleep(3 * time.Second)
		after := e.transactions()
		e.measured("master %s over an unchanged cluster: ready after %v, %d northbound transactions", how.name, took.Round(time.Millisecond), after-before)
		if after != before {
			e.Errorf("a restart of an idle master made %d northbound transactions, want 0; the last:\n%s", after-before,
				tail(e.path(plan.ControlPlane, nbLog), 2*(after-before)))
		}
		before = after
	}
}

// testForeignRows shares the database with another system.
func testForeignRows(e *env) {
	node := e.Nodes()[0]
	e.nb("ls-add", "foreign", "--", "lsp-add", "foreign", "foreign-inner",
		"--", "lsp-add", node, "foreign-port", "--", "lsp-set-addresses", "foreign-port", "0a:58:01:02:03:04",
		"--", "--id=@as", "create", "Address_Set", "name=foreign", "addresses=192.0.2.1",
		"--", "--policy=dst-ip", "lr-route-add", names.ClusterRouter, "198.51.100.0/24", "100.64.0.1")
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 5*time.Second)
		defer cancel()
		if _, err := e.Exec(ctx, plan.ControlPlane, "ovn-nbctl", "--if-exists", "ls-del", "foreign", "--", "--if-exists", "lsp-del", "foreign-port",
			"--", "--if-exists", "destroy", "Address_Set", "foreign", "--", "--if-exists", "lr-route-del", names.ClusterRouter, "198.51.100.0/24"); err != nil {
			e.Error(err)
		}
	})
	read := func() string {
		return strings.Join([]string{
			e.nb("lsp-list", "foreign"), e.nb("lsp-list", node),
			e.nb("--columns=addresses", "find", "Address_Set", "name=foreign"),
			e.nb("lr-route-list", names.ClusterRouter),
			e.nb("lsp-get-addresses", "foreign-port"),
		}, "\n")
	}
	e.quiet()
	before := read()
	check := func(when string) {
		e.quiet()
		if now := read(); now != before {
			e.Errorf("rows of another system changed %s; before:\n%s\nnow:\n%s", when, before, now)
		}
	}
	e.restart(plan.Master, plan.ControlPlane)
	check("with a restart of the master")
	for i := range 4 {
		e.create(newPod(e.ns, fmt.Sprintf("p%d", i), onNode(node), pausing))
	}
	e.ready("p0", "p1", "p2", "p3")
	e.delete("p0", "p1", "p2", "p3")
	e.kill(plan.Master, plan.ControlPlane)
	check("with pods that came and went")
}
