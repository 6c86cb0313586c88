//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// lastLine is where a trace has its verdict.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// fromOutside holds what trace says of connections from outside against packets: to a service with an external address, whose endpoint, on
// the far node, is for what comes in there alone.
func (k kubectlOVN) fromOutside(near, far string) {
	k.Helper()
	k.service("outer", toTraced, kind(corev1.ServiceTypeNodePort), func(s *corev1.Service) {
		s.Spec.Selector = map[string]string{"service": "inner"}
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		for _, is4 := range k.families() {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, testAddresses[is4].String())
		}
	})
	client := traffic.Place{Addresses: k.Family().OutsideClient()}
	for _, is4 := range k.families() {
		to := testAddresses[is4].String()
		at := netip.AddrPortFrom(testAddresses[is4], servicePort)
		for _, c := range []struct{ via, says string }{{far, "allowed: arrives at pod " + k.ns + "/stranger"}, {near, "dropped"}} {
			k.on(plan.Outside, "ip", "route", "replace", to, "via", k.places["node/"+c.via].Address(is4).String())
			code := 0
			k.eventually(func() error {
				var out string
				if out, code = k.run("trace", client.Address(is4).String(), at.String(), "--via", c.via); !strings.Contains(lastLine(out), c.says) {
					return fmt.Errorf("from outside by %s: want %q in the verdict:\n%s", c.via, c.says, out)
				}
				return nil
			})
			if reached := k.reaches("outside", tcp, at, code == 0); reached != (code == 0) {
				k.Errorf("from outside by %s: exit code %d, but a packet to %s arrives: %v", c.via, code, at, reached)
			}
		}
		k.on(plan.Outside, "ip", "route", "del", to)
	}
	k.must(k.client.CoreV1().Services(k.ns).Delete(k.ctx, "outer", metav1.DeleteOptions{}))
}

// plansDeletion looks whether what plan says of a policy's deletion comes true; those rows are there because of it alone.
func (k kubectlOVN) plansDeletion(file string, rows map[string]string, there func(table, row string) bool) {
	k.Helper()
	out, code := k.run("plan", "--delete", "-n", k.ns, "-f", file, "-o", "json")
	var report struct {
		Changes []struct{ Action, Table, Row string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		k.Fatalf("plan --delete: %v, exit code %d: %s", err, code, out)
	}
	removed := map[string]string{}
	for _, c := range report.Changes {
		if c.Action == "remove" {
			removed[c.Row] = c.Table
		} else if c.Action != "take" {
			k.Errorf("the deletion of a policy would %s %s %s", c.Action, c.Table, c.Row)
		}
	}
	if !maps.Equal(removed, rows) {
		k.Errorf("%v would be removed, want what was added: %v", removed, rows)
	}
	for row, table := range removed {
		if !there(table, row) {
			k.Errorf("%s %s would be removed, but is not there", table, row)
		}
	}
	k.must(k.client.NetworkingV1().NetworkPolicies(k.ns).Delete(k.ctx, "planned", metav1.DeleteOptions{}))
	for row, table := range removed {
		k.eventually(func() error {
			if there(table, row) {
				return fmt.Errorf("%s %s is still there", table, row)
			}
			return nil
		})
	}
}
