//go:build e2e

package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// staleAfter is how long what the datapath decides may be wrong before its flows are looked into.
const staleAfter = 2 * time.Second

// settled is eventually for what the datapath decides. The userspace datapath of Open vSwitch 3.1 may keep a flow that is in use with a former
// verdict: the revalidator's change of it goes to another flow that matches the same packet, and it never looks again. OpenFlow tables
// that are right are proved by flows that are made anew of them.
func (e *env) settled(fn func() error) time.Duration {
	e.Helper()
	began, next := time.Now(), staleAfter
	return e.eventually(func() error {
		err := fn()
		if took := time.Since(began); err != nil && took > next {
			next = 2 * took
			e.renewFlows(err.Error())
		}
		return err
	})
}

// renewFlows has the datapaths' flows made anew on all nodes whose Open vSwitch may keep wrong ones. Others are left alone.
func (e *env) renewFlows(why string) {
	e.Helper()
	for _, n := range e.Nodes() {
		if e.keepsFlows(n) {
			e.on(n, "ovs-appctl", "revalidator/purge")
			e.measured("flows of %s's datapath made anew, because: %s", n, why)
		}
	}
}

var versionOfOVS = regexp.MustCompile(`(\d+)\.(\d+)\.\d+`)

// keepsFlows: versions since 3.3 find a flow that is to be changed by its identifier, as the kernel's datapath always has.
func (e *env) keepsFlows(node string) bool {
	e.Helper()
	if !e.userspace(node) {
		return false
	}
	text := e.on(node, "ovs-appctl", "version")
	m := versionOfOVS.FindStringSubmatch(text)
	if m == nil {
		e.Fatalf("no version in %q", text)
	}
	major, minor := number(m[1]), number(m[2])
	return major < 3 || major == 3 && minor < 3
}

// userspace tells which of Open vSwitch's datapaths the node has.
func (e *env) userspace(node string) bool {
	e.Helper()
	return strings.Contains(e.on(node, "ovs-vsctl", "get", "Bridge", names.IntegrationBridge, "datapath_type"), "netdev")
}

func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
