//go:build integration

package cni

import (
	"testing"
)

func TestAddDel(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	result := w.mustCNI("ADD", p, nil)
	t.Log(w.run("ip", "-n", "cni-1", "addr"), w.run("ip", "-n", "cni-1", "route"), w.run("ip", "-n", "cni-1", "-6", "route"))
	t.Log(w.run("ovs-vsctl", "show"), w.run("ovs-vsctl", "list", "Interface", p.hostName()))
	t.Log(w.run("ip", "-d", "link", "show", p.hostName()))
	w.mustCNI("CHECK", p, result)
	w.mustCNI("DEL", p, result)
	if left := w.leftovers(); len(left) > 0 {
		t.Errorf("DEL left %v", left)
	}
}
