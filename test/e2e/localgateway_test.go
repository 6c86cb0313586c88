//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// TestLocalGateway is what depends on the way out of a node, in a cluster whose nodes lead it through the host's own stack and
// write its rules with iptables.
func TestLocalGateway(t *testing.T) {
	c := bringUp(t, plan.Dual, labOptions{suffix: "l", agent: plan.Agent{GatewayMode: names.GatewayModeLocal, Netfilter: names.NetfilterIPTables}})
	for _, s := range []scenario{
		{name: "LocalGateway", run: testLocalGateway},
		{name: "IPTables", run: testIPTables},
		{name: "Reachability", run: testReachability, lengthy: true},
		{name: "Egress", run: testEgress},
		{name: "Services", run: testServices, lengthy: true},
		{name: "ExternalServices", run: testExternalServices},
		{name: "NodeAddress", run: testNodeAddress, lengthy: true},
	} {
		c.runScenario(t, s)
	}
}

// testLocalGateway: nodes say that they are local gateways, and what pods send to the outside obeys the host's rules and routes.
func testLocalGateway(e *env) {
	node := e.Nodes()[0]
	pod, outside, self := e.start("client", onNode(node)), e.machine(plan.Outside), e.machine(node)
	if mode := e.gatewayMode(node); mode != names.GatewayModeLocal {
		e.Errorf("%s publishes gateway mode %q", node, mode)
	}
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 5*time.Second)
		defer cancel()
		if _, err := e.Exec(ctx, node, "sh", "-c", "! nft list table inet firewall || nft delete table inet firewall"); err != nil {
			e.Error(err)
		}
	})
	for _, is4 := range e.families() {
		e.mustReachFamily(pod, outside, is4, icmp, 0)
		// The rules of a firewall on the host, for one destination.
		family := map[bool]string{true: "ip", false: "ip6"}[is4]
		e.on(node, "nft", fmt.Sprintf(`add table inet firewall; add chain inet firewall forward { type filter hook forward priority 0; };
			add rule inet firewall forward %s daddr %s counter drop`, family, outside.Address(is4)))
		if _, err := e.seenOutside(pod, outside, tcp, is4); err == nil {
			e.Errorf("a pod reaches %s, which the host's firewall forbids", outside.Address(is4))
		}
		e.on(node, "nft", "delete", "table", "inet", "firewall")
		e.eventually(func() error {
			seen, err := e.seenOutside(pod, outside, tcp, is4)
			if err == nil && seen != self.Address(is4) {
				err = fmt.Errorf("it came from %s", seen)
			}
			return err
		})
	}
}

// testIPTables: a node port is a rule in the chain that operators look into, and nothing of it is in nftables.
func testIPTables(e *env) {
	s := e.service("some", kind(corev1.ServiceTypeNodePort))
	for _, node := range e.Nodes() {
		for _, is4 := range e.families() {
			command := map[bool]string{true: "iptables", false: "ip6tables"}[is4]
			for proto, at := range nodePorts(s) {
				want := fmt.Sprintf("-A OVN-KUBE-NODEPORT -p %[1]s -m addrtype --dst-type LOCAL -m %[1]s --dport %[2]d -j DNAT --to-destination %[3]s",
					proto, at, port(clusterIP(s, is4), servicePort))
				e.eventually(func() error {
					rules, err := e.Exec(e.ctx, node, command, "-t", "nat", "-S", "OVN-KUBE-NODEPORT")
					if err == nil && !strings.Contains(rules, want+"\n") {
						err = fmt.Errorf("%s: no rule %q in\n%s", node, want, rules)
					}
					return err
				})
			}
		}
		if out := e.on(node, "nft", "list", "table", "inet", names.NFTTable); strings.Contains(out, "nodeports") {
			e.Errorf("%s has maps of the other renderer:\n%s", node, out)
		}
	}
}

// gatewayMode is what a node publishes.
func (e *env) gatewayMode(node string) string {
	e.Helper()
	var networks map[string]struct {
		Mode string `json:"mode"`
	}
	text := e.seen.node(node).Annotations[names.L3GatewayConfigAnnotation]
	if err := json.Unmarshal([]byte(text), &networks); err != nil {
		e.Fatalf("%s publishes %q: %v", node, text, err)
	}
	return networks["default"].Mode
}
