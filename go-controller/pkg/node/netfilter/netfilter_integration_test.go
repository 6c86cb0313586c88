//go:build integration

package netfilter

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// foreignRules are other programs' rules: in the hooks that ours are in too, and elsewhere.
var foreignRules = []string{
	"iptables -t nat -N OTHER", "iptables -t nat -A PREROUTING -m comment --comment not~ours -j OTHER", "iptables -t nat -A OUTPUT -j OTHER",
	"iptables -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE", "iptables -t mangle -A OUTPUT -p icmp -j ACCEPT",
	"ip6tables -t nat -A PREROUTING -p icmpv6 -j ACCEPT", "iptables -A INPUT -p tcp --dport 9 -j DROP",
	"nft add table inet foreign", "nft add chain inet foreign pre {~type~nat~hook~prerouting~priority~-100~;~}",
	"nft add rule inet foreign pre tcp dport 7777 redirect to :7778",
}

func TestPackets(t *testing.T) {
	renderers(t, func(t *testing.T, renderer string) {
		for _, rule := range foreignRules {
			nodetest.Run(t, rule)
		}
		foreign := ruleset(t, true)
		listen(t, "tcp", "cluster", clusterV4+":80")
		listen(t, "tcp", "cluster6", "["+clusterV6+"]:80")
		listen(t, "udp", "udp", clusterV4+":80")
		listen(t, "tcp", "ovn", masqueradeV4+":31786")
		listen(t, "tcp", "host", "172.18.0.11:8080")

		web := newService("web", "TCP", 31785, func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.80"} })
		dns := newService("dns", "UDP", 31785, nil)
		local := newService("local", "TCP", 31786, func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = "Local" })
		c := start(t, renderer, web, dns)

		onHost := func(network, address string) func() (string, error) {
			return func() (string, error) { return ask(network, address) }
		}
		from := func(namespace, address string) func() (string, error) {
			return func() (string, error) { return askFrom(namespace, address) }
		}
		answers(t, "node port, host", "cluster 172.18.0.11", onHost("tcp", "172.18.0.11:31785"))
		answers(t, "node port, host, another address", "cluster 10.128.2.2", onHost("tcp", "10.128.2.2:31785"))
		answers(t, "node port, IPv6", "cluster6 fd00:172:18::b", onHost("tcp", "[fd00:172:18::b]:31785"))
		answers(t, "node port, UDP", "udp 172.18.0.11", onHost("udp", "172.18.0.11:31785"))
		answers(t, "node port, outside", "cluster 172.18.0.1", from("peer", "172.18.0.11:31785"))
		answers(t, "node port, pod", "cluster 10.128.2.7", from("pods", "172.18.0.11:31785"))
		answers(t, "external IP, host", "cluster 172.18.0.11", onHost("tcp", "192.0.2.80:80"))
		nodetest.Run(t, "ip -n peer route add 192.0.2.80 via 172.18.0.11")
		answers(t, "external IP, outside", "cluster 172.18.0.1", from("peer", "192.0.2.80:80"))

		c.put(local)
		answers(t, "local, outside: to OVN, source kept", "ovn 172.18.0.1", from("peer", "172.18.0.11:31786"))
		answers(t, "local, host: as any", "cluster 172.18.0.11", onHost("tcp", "172.18.0.11:31786"))
		answers(t, "local, pod: as any", "cluster 10.128.2.7", from("pods", "172.18.0.11:31786"))
		c.endpoint("local", "172.18.0.11", "node1", 8080)
		answers(t, "local, outside: to the host", "host 172.18.0.1", from("peer", "172.18.0.11:31786"))

		if diff := cmp.Diff(foreign, ruleset(t, true)); diff != "" {
			t.Errorf("others' rules have changed: %s", diff)
		}
		c.remove(web)
		refused(t, "deleted service", onHost("tcp", "172.18.0.11:31785"))
		answers(t, "the service with the same port for UDP", "udp 172.18.0.11", onHost("udp", "172.18.0.11:31785"))
	})
}

func TestManagementPortSource(t *testing.T) {
	renderers(t, func(t *testing.T, renderer string) {
		start(t, renderer)
		server := nodetest.Start(t, "ip netns exec pods nc -v -n -k -l "+podV4+" 9000")
		reach := func(source, want string) {
			t.Helper()
			nodetest.Eventually(t, limit, func() error {
				_, err := nodetest.Try("nc -z -w 1 -s " + source + " " + podV4 + " 9000")
				if log := server.Log(); err != nil || !strings.Contains(log, want) {
					return fmt.Errorf("%w, the pod has seen: %s", err, log)
				}
				return nil
			})
		}
		reach("172.18.0.11", "10.128.2.2")
		if strings.Contains(server.Log(), "172.18.0.11") {
			t.Errorf("the pod has seen the host's other address: %s", server.Log())
		}
		// What comes from the masquerade address back into OVN has to keep its source.
		nodetest.Run(t, "ip addr del "+masqueradeV4+"/32 dev lo")
		nodetest.Run(t, "ip -n pods addr add "+masqueradeV4+"/32 dev lo")
		nodetest.Run(t, "ip route add "+masqueradeV4+" via "+podV4+" dev ovn-k8s-mp0")
		kept := nodetest.Start(t, "ip netns exec pods nc -v -n -k -l "+masqueradeV4+" 9000")
		nodetest.Eventually(t, limit, func() error {
			_, err := nodetest.Try("nc -z -w 1 -s 172.18.0.11 " + masqueradeV4 + " 9000")
			if log := kept.Log(); err != nil || !strings.Contains(log, "172.18.0.11") {
				return fmt.Errorf("%w, OVN has seen: %s", err, log)
			}
			return nil
		})
	})
}

// What nobody needs netfilter for must not touch it, and what is in place is not written again.
func TestQuiet(t *testing.T) {
	renderers(t, func(t *testing.T, renderer string) {
		web := newService("web", "TCP", 31785, func(s *corev1.Service) {
			s.Spec.ExternalIPs = []string{"192.0.2.80", "2001:db8::80"}
			s.Spec.ExternalTrafficPolicy = "Local"
		})
		c := start(t, renderer, web)
		before := ruleset(t, false)
		seen := monitor(t, func() {
			c.stop()
			c = start(t, renderer, web)
			for i := range 20 {
				plain := newService(fmt.Sprint("plain", i), "TCP", 0, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
				c.put(plain)
				c.endpoint(plain.Name, podV4, "node1", 8080)
			}
			c.endpoint("web", podV4, "node1", 8080)
			time.Sleep(300 * time.Millisecond) // for what must not happen
		})
		if len(seen) > 0 {
			t.Errorf("netfilter has changed:\n%s", strings.Join(seen, "\n"))
		}
		seen = monitor(t, func() {
			c.put(newService("plain7", "TCP", 31790, func(s *corev1.Service) { s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1] }))
			nodetest.Eventually(t, limit, func() error {
				if ruleset(t, false) == before {
					return fmt.Errorf("the node port has no rule")
				}
				return nil
			})
		})
		if len(seen) != 1 {
			t.Errorf("one node port has changed:\n%s", strings.Join(seen, "\n"))
		}
	})
}

func TestDrift(t *testing.T) {
	damages := map[string][]string{
		names.NetfilterNFTables: {
			"nft delete element inet ovn-kubernetes nodeports-v4 {~tcp~.~31785~}",
			"nft add element inet ovn-kubernetes nodeports-v4 {~tcp~.~31799~:~172.30.0.1~.~80~}",
			"nft add element inet ovn-kubernetes nodeports-v4 {~icmp~.~31799~:~172.30.0.1~.~80~}",
			"nft flush map inet ovn-kubernetes external-ips-v6", "nft flush set inet ovn-kubernetes itp-mark-v4",
			"nft flush chain inet ovn-kubernetes services", "nft insert rule inet ovn-kubernetes services accept",
			"nft delete table inet ovn-kubernetes", "nft flush ruleset",
		},
		names.NetfilterIPTables: {
			"iptables -t nat -D OVN-KUBE-NODEPORT 1", "iptables -t nat -A OVN-KUBE-NODEPORT -p tcp --dport 31799 -j ACCEPT",
			"iptables -t nat -F OVN-KUBE-EXTERNALIP", "ip6tables -t nat -F OVN-KUBE-SNAT-MGMTPORT", "iptables -t nat -D PREROUTING -j OVN-KUBE-ETP",
			"iptables -t nat -F", "iptables -t mangle -F OVN-KUBE-ITP", "ip6tables -t nat -I OVN-KUBE-ETP -j ACCEPT", "nft delete table ip nat",
		},
	}
	renderers(t, func(t *testing.T, renderer string) {
		c := start(t, renderer, newService("web", "TCP", 31785, func(s *corev1.Service) { everythingOf(&s.Spec) }))
		want := ruleset(t, false)
		for _, damage := range damages[renderer] {
			nodetest.Run(t, damage)
			took := nodetest.Eventually(t, limit, func() error {
				if diff := cmp.Diff(want, ruleset(t, false)); diff != "" {
					return fmt.Errorf("%s: %s", damage, diff)
				}
				return nil
			})
			t.Logf("%-70s repaired after %v", damage, took.Round(time.Millisecond))
		}
		nodetest.Eventually(t, limit, c.c.Loop().Err)
	})
}

func TestSwitchLeavesNothing(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		plumb(t)
		listen(t, "tcp", "cluster", clusterV4+":80")
		masquerade := nft.Masquerade(nil, nil)
		masquerade.Chains[0].Rules = []string{"ip saddr 10.128.2.0/23 masquerade"}
		if _, err := nft.Kernel().Ensure(t.Context(), masquerade); err != nil {
			t.Fatal(err)
		}
		for _, rule := range foreignRules {
			nodetest.Run(t, rule)
		}
		others := ruleset(t, false)
		web := newService("web", "TCP", 31785, nil)
		for _, setting := range []string{names.NetfilterIPTables, names.NetfilterAuto, names.NetfilterIPTables, names.NetfilterNFTables} {
			c := start(t, setting, web)
			answers(t, setting, "cluster 172.18.0.11", func() (string, error) { return ask("tcp", "172.18.0.11:31785") })
			text := ruleset(t, false)
			iptables, nftables := strings.Contains(text, "OVN-KUBE-NODEPORT"), strings.Contains(text, "nodeports-v4")
			if wantIPTables := setting == names.NetfilterIPTables; iptables != wantIPTables || nftables == wantIPTables {
				t.Errorf("%s: iptables %t, nftables %t\n%s", setting, iptables, nftables, text)
			}
			c.stop()
		}
		if err := Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(others, ruleset(t, false)); diff != "" {
			t.Errorf("after the cleanup: %s", diff)
		}
		if chains := nodetest.Run(t, "iptables-save"); strings.Contains(chains, "OVN-KUBE") {
			t.Errorf("chains are left:\n%s", chains)
		}
	})
}

// Where iptables is not built on nftables, the rules are the same.
func TestLegacy(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		plumb(t)
		programs := t.TempDir()
		for _, name := range []string{"iptables", "ip6tables"} {
			for _, suffix := range []string{"", "-save", "-restore"} {
				legacy, err := exec.LookPath(name + "-legacy" + suffix)
				if err != nil {
					t.Skip("there is no iptables-legacy")
				}
				if err := os.Symlink(legacy, filepath.Join(programs, name+suffix)); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
		listen(t, "tcp", "cluster", clusterV4+":80")
		nodetest.Run(t, "iptables -t nat -A PREROUTING -p icmp -j ACCEPT")
		before := nodetest.Run(t, "iptables-save") + nodetest.Run(t, "ip6tables-save")
		web := newService("web", "TCP", 31785, func(s *corev1.Service) { everythingOf(&s.Spec) })
		c := start(t, names.NetfilterIPTables, web)
		answers(t, "node port", "cluster 172.18.0.11", func() (string, error) { return ask("tcp", "172.18.0.11:31785") })
		text := ruleset(t, false)
		if !strings.Contains(text, "-A OVN-KUBE-NODEPORT -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination 172.30.44.86:80\n") {
			t.Errorf("another text:\n%s", text)
		}
		for _, v4 := range []bool{true, false} {
			program, err := NewIPTables().open(v4)
			if err != nil {
				t.Fatal(err)
			}
			have, err := readChains(program)
			if err != nil {
				t.Fatal(err)
			}
			for table, lines := range edits(have, chainSpecs(testFacts(), c.c.ledger, v4)) {
				if len(lines) > 0 {
					t.Errorf("%s: a second run would write %q", table, lines)
				}
			}
		}
		c.stop()
		if err := Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := nodetest.Run(t, "iptables-save") + nodetest.Run(t, "ip6tables-save")
		if strings.Count(after, "\n-A") != strings.Count(before, "\n-A") || strings.Contains(after, "OVN-KUBE") {
			t.Errorf("left:\n%s", after)
		}
	})
}

// A client that goes on sending from the same port follows the service.
func TestUDPFollows(t *testing.T) {
	renderers(t, func(t *testing.T, renderer string) {
		nodetest.Run(t, "ip addr add 172.30.0.2/32 dev lo")
		listen(t, "udp", "one", clusterV4+":80")
		listen(t, "udp", "two", "172.30.0.2:80")
		c := start(t, renderer)
		conn, err := net.Dial("udp", "172.18.0.11:31785")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		send := func() (string, error) {
			conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
			fmt.Fprint(conn, "?")
			buffer := make([]byte, 100)
			n, err := conn.Read(buffer)
			return string(buffer[:n]), err
		}
		other, err := net.ListenPacket("udp", "172.18.0.11:31999") // has nothing to do with the service
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := ask("udp", "172.18.0.11:31999"); err == nil {
			t.Fatal("answered")
		}
		bystanders := func() int { return strings.Count(nodetest.Run(t, "conntrack -L -p udp"), "dport=31999") }
		before := bystanders()
		if got, err := send(); err == nil {
			t.Fatalf("answered before there is a service: %q", got)
		}
		service := newService("dns", "UDP", 31785, nil)
		c.put(service)
		answers(t, "a new service", "one 172.18.0.11", send)
		moved := newService("dns", "UDP", 31785, func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "172.30.0.2", []string{"172.30.0.2"} })
		c.put(moved)
		answers(t, "another target", "two 172.18.0.11", send)
		c.remove(moved)
		refused(t, "no service", send)
		if after := bystanders(); after != before || before == 0 {
			t.Errorf("%d connections of others were tracked, now %d", before, after)
		}
	})
}

// What the host sends to a service with internalTrafficPolicy Local enters OVN by the management port, or stays on the host.
func TestInternalPolicy(t *testing.T) {
	renderers(t, func(t *testing.T, renderer string) {
		for _, command := range []string{
			"ip route add 172.30.0.0/16 via 172.18.0.1", "ip -n pods addr add 10.128.2.1/23 dev eth0", "ip -n pods addr add 172.30.0.7/32 dev lo",
		} {
			nodetest.Run(t, command)
		}
		server := nodetest.Start(t, "ip netns exec pods nc -v -n -k -l 172.30.0.7 80")
		listen(t, "tcp", "host", "172.18.0.11:8080")
		policy := corev1.ServiceInternalTrafficPolicyLocal
		service := func(policy *corev1.ServiceInternalTrafficPolicy) *corev1.Service {
			return newService("web", "TCP", 0, func(s *corev1.Service) {
				s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.InternalTrafficPolicy = "172.30.0.7", []string{"172.30.0.7"}, policy
			})
		}
		c := start(t, renderer, service(&policy))
		through := func() error {
			if _, err := nodetest.Try("nc -z -w 1 172.30.0.7 80"); err != nil {
				return err
			}
			if log := server.Log(); !strings.Contains(log, "on 10.128.2.2") {
				return fmt.Errorf("OVN has seen %s", log)
			}
			return nil
		}
		nodetest.Eventually(t, limit, through)
		for _, damage := range []string{"ip rule del priority 30", "ip route flush table 7", "ip link set ovn-k8s-mp0 down"} {
			nodetest.Run(t, damage)
			if strings.Contains(damage, "down") { // whoever owns the device brings it back and says so
				nodetest.Run(t, "ip link set ovn-k8s-mp0 up")
				nodetest.Run(t, "ip addr add fd01:0:0:1::2/64 dev ovn-k8s-mp0 nodad")
				c.c.Wake()
			}
			nodetest.Eventually(t, limit, through)
		}
		c.endpoint("web", "172.18.0.11", "node1", 8080)
		answers(t, "an endpoint on the host", "host 172.18.0.11", func() (string, error) { return ask("tcp", "172.30.0.7:80") })
		c.put(service(nil))
		refused(t, "another policy: not by this way", func() (string, error) { return ask("tcp", "172.30.0.7:80") })
		c.stop()
		if err := Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rules := nodetest.Run(t, "ip rule") + nodetest.Run(t, "ip -6 rule"); strings.Contains(rules, "0x1745ec") {
			t.Errorf("left: %s", rules)
		}
	})
}
