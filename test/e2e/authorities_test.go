//go:build e2e

package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// authoritiesSettle is from when on new authorities sign, and a little.
const authoritiesSettle = 2*time.Minute + 5*time.Second

// emptied is the operator's command that takes an object's content away: kubectl patch --type=json.
const emptied = `[{"op": "remove", "path": "/data"}]`

// testAuthoritiesReplaced goes the way of docs/security.md, with traffic between pods and everything running.
func testAuthoritiesReplaced(e *env) {
	e.errorsExpected = true
	p := e.pair()
	stop := e.probe(p[0], p[1])
	before := e.certificateState()
	for machine, file := range e.pairFiles() {
		e.on(machine, "cp", file, "/tmp/former.pem")
	}

	_, err := e.client.CoreV1().Secrets(names.Namespace).Patch(e.ctx, names.Authorities, types.JSONPatchType, []byte(emptied), metav1.PatchOptions{})
	e.must(err)
	e.restart(plan.Master, plan.ControlPlane)
	made := time.Now()
	e.masterReady()
	e.trusted(2)
	e.usable("both")
	e.unchanged("both authorities are trusted", before)

	e.wait(time.Until(made.Add(authoritiesSettle)))
	issuers := e.issuers()
	for machine, file := range e.pairFiles() {
		e.renew(machine, file, issuers[machine])
	}
	e.masterReady()
	e.checkFormer(true)
	e.usable("renewed")
	e.unchanged("all certificates have been renewed", before)

	_, err = e.client.CoreV1().ConfigMaps(names.Namespace).Patch(e.ctx, names.Authorities, types.JSONPatchType, []byte(emptied), metav1.PatchOptions{})
	e.must(err)
	e.restart(plan.Master, plan.ControlPlane)
	e.masterReady()
	e.trusted(1)
	e.checkFormer(false)
	e.usable("new")
	e.unchanged("the new authorities alone are trusted", before)
	e.reconnectAll()
	e.report("authorities replaced", stop(), time.Second)
}

// wait does nothing for a while.
func (e *env) wait(d time.Duration) {
	e.Helper()
	select {
	case <-time.After(d):
	case <-e.ctx.Done():
		e.Fatal("out of time")
	}
}

// pairFiles are the files with key and certificate, by machine.
func (e *env) pairFiles() map[string]string {
	out := map[string]string{plan.ControlPlane: pkiDir + names.MasterCertificateFile}
	for _, n := range e.Nodes() {
		out[n] = pkiDir + names.NodeCertificateFile
	}
	return out
}

// issuers are the names of those who have signed the present certificates, by machine.
func (e *env) issuers() map[string]string {
	e.Helper()
	out := map[string]string{}
	for machine, file := range e.pairFiles() {
		name, err := issuer(e.path(machine, file))
		e.must(err)
		out[machine] = name
	}
	return out
}

func issuer(file string) (string, error) {
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return "", err
	}
	return pair.Leaf.Issuer.CommonName, nil
}

// trusted waits until all hosts trust so many authorities of each kind.
func (e *env) trusted(n int) {
	e.Helper()
	want := map[string]int{e.path(plan.ControlPlane, pkiDir+names.ServerCAFile): n, e.path(plan.ControlPlane, pkiDir+names.ClientCAFile): 2 * n}
	for _, node := range e.Nodes() {
		want[e.path(node, pkiDir+names.ServerCAFile)] = n
	}
	took := e.eventually(func() error {
		for file, n := range want {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if have := strings.Count(string(content), "BEGIN CERTIFICATE"); have != n {
				return fmt.Errorf("%s has %d authorities, want %d", file, have, n)
			}
		}
		return nil
	})
	e.measured("all hosts trust %d of each authority %v after the master", n, took.Round(time.Millisecond))
}

// renew hastens what comes by itself within the certificates' duration.
func (e *env) renew(machine, file, former string) {
	e.Helper()
	component := plan.NodeAgent
	if machine == plan.ControlPlane {
		component = plan.Master
	}
	e.must(os.Remove(e.path(machine, file)))
	e.restart(component, machine)
	e.eventually(func() error {
		name, err := issuer(e.path(machine, file))
		if err == nil && name == former {
			err = fmt.Errorf("%s: %s has signed the new certificate, too", machine, name)
		}
		return err
	})
}

// certificateState is what must not change while authorities are replaced: how often each ovn-controller has connected, and the terms of the databases.
type certificateState struct {
	connections map[string]int
	terms       map[string]uint64
}

func (e *env) certificateState() certificateState {
	e.Helper()
	s := certificateState{map[string]int{}, map[string]uint64{}}
	for _, node := range e.Nodes() {
		s.connections[node] = e.southboundConnections(node)
	}
	for kind := range databaseComponents() {
		s.terms[kind] = e.databaseStatus(kind, 1).Term
	}
	return s
}

// unchanged asserts that nobody has connected anew. On a machine that stands still for seconds members elect another leader, and a relay and its clients
// may connect again for that reason: then nothing can be told.
func (e *env) unchanged(when string, before certificateState) {
	e.Helper()
	now := e.certificateState()
	if diff := cmp.Diff(before.terms, now.terms); diff != "" {
		e.measured("%s: there have been elections:\n%s", when, diff)
	} else if diff := cmp.Diff(before.connections, now.connections); diff != "" {
		e.Errorf("%s: ovn-controllers have connected anew:\n%s", when, diff)
	}
}

// checkFormer: what the new authorities have signed is good at a relay and at a member, and what the former have as long as they are trusted.
func (e *env) checkFormer(formerGood bool) {
	e.Helper()
	for machine, remote := range map[string]string{e.Nodes()[0]: e.Southbound(), plan.ControlPlane: "ssl:" + e.ControlPlaneListeners()[0]} {
		for pair, good := range map[string]bool{e.pairFiles()[machine]: true, "/tmp/former.pem": formerGood} {
			out, err := e.Exec(e.ctx, machine, "timeout", "10", "ovsdb-client", "--private-key="+pair, "--certificate="+pair, "--ca-cert="+pkiDir+names.ServerCAFile, "list-dbs", remote)
			if (err == nil) != good {
				e.Errorf("%s from %s with %s, want %t: %s, error %v", remote, machine, pair, good, out, err)
			}
		}
	}
}

// reconnectAll ends the connections that began before: those of nodes by the relay's command, those of members by the death of leaders.
func (e *env) reconnectAll() {
	e.Helper()
	before := e.certificateState().connections
	e.on(plan.ControlPlane, "ovn-appctl", "-t", "/run/ovn/ovnsb_relay.ctl", "ovsdb-server/reconnect")
	took := e.eventually(func() error {
		for _, node := range e.Nodes() {
			if e.southboundConnections(node) == before[node] {
				return errors.New(node + " has not connected again")
			}
			if s := e.on(node, "ovn-appctl", "-t", "ovn-controller", "connection-status"); s != "connected" {
				return fmt.Errorf("ovn-controller on %s is %s", node, s)
			}
		}
		return nil
	})
	e.measured("all nodes are connected again %v after their connections were ended", took.Round(time.Millisecond))
	for kind, component := range databaseComponents() {
		e.kill(plan.DatabaseMember(component, e.databaseLeader(kind)), plan.ControlPlane)
		e.measured("leader of %s killed: a new pair of pods took %v", kind, e.usable("last-"+kind).Round(time.Millisecond))
	}
}
