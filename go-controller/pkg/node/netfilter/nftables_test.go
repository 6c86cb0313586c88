package netfilter

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// counted counts the operations of transactions.
type counted struct {
	*knftables.Fake
	operations int
}

func (c *counted) Run(ctx context.Context, tx *knftables.Transaction) error {
	c.operations += tx.NumOperations()
	return c.Fake.Run(ctx, tx)
}

func fakeNFTables() (*NFTables, *counted) {
	fake := &counted{Fake: knftables.NewFake(knftables.InetFamily, "ovn-kubernetes")}
	return NewNFTables(nft.Runner{New: func(knftables.Family, string, ...knftables.Option) (knftables.Interface, error) { return fake, nil }}), fake
}

func syncAll(t *testing.T, r Renderer, l *Ledger) []Change {
	t.Helper()
	changes, err := r.Sync(t.Context(), testFacts(), l, l.TakeTouched())
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestNFTablesElements(t *testing.T) {
	r, fake := fakeNFTables()
	syncAll(t, r, testLedger(service(everything)))
	var got []string
	for line := range strings.SplitSeq(fake.Dump(), "\n") {
		if strings.HasPrefix(line, "add element") {
			got = append(got, strings.TrimPrefix(line, "add element inet ovn-kubernetes "))
		}
	}
	slices.Sort(got)
	want := []string{
		"etp-external-ips-v4 { 192.0.2.1 . tcp . 80 : 169.254.169.3 . 31785 }",
		"etp-external-ips-v4 { 192.0.2.2 . tcp . 80 : 169.254.169.3 . 31785 }",
		"etp-external-ips-v6 { 2001:db8::1 . tcp . 80 : fd69::3 . 31785 }",
		"etp-nodeports-v4 { tcp . 31785 : 169.254.169.3 . 31785 }",
		"etp-nodeports-v6 { tcp . 31785 : fd69::3 . 31785 }",
		"external-ips-v4 { 192.0.2.1 . tcp . 80 : 172.30.44.86 . 80 }",
		"external-ips-v4 { 192.0.2.2 . tcp . 80 : 172.30.44.86 . 80 }",
		"external-ips-v6 { 2001:db8::1 . tcp . 80 : fd02::5 . 80 }",
		"itp-mark-v4 { 172.30.44.86 . tcp . 80 }",
		"itp-mark-v6 { fd02::5 . tcp . 80 }",
		"nodeports-v4 { tcp . 31785 : 172.30.44.86 . 80 }",
		"nodeports-v6 { tcp . 31785 : fd02::5 . 80 }",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNFTablesOneChangeOneElement(t *testing.T) {
	r, fake := fakeNFTables()
	l := NewLedger()
	set := func(i int, ip string) {
		s := service(func(s *kube.Service) {
			s.Name, s.ClusterIPs = fmt.Sprint("web", i), addrs(ip)
			s.Ports = []kube.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80, NodePort: uint16(30000 + i)}}
		})
		l.Set(s.Key(), ServiceRules(s, nil, testFacts()))
	}
	for i := range 100 {
		set(i, "172.30.0.1")
	}
	syncAll(t, r, l)
	cost := func(what string, want int, change func()) {
		t.Helper()
		before := fake.operations
		change()
		syncAll(t, r, l)
		if got := fake.operations - before; got != want {
			t.Errorf("%s: %d operations, want %d", what, got, want)
		}
	}
	cost("nothing", 0, func() {})
	cost("one service more", 1, func() { set(100, "172.30.0.1") })
	cost("one less", 1, func() { l.Set("ns/web7", nil) })
	cost("another cluster IP", 2, func() { set(8, "172.30.0.2") })
	cost("a ClusterIP service", 0, func() {
		s := service(func(s *kube.Service) { s.Ports[0].NodePort = 0 })
		l.Set("ns/plain", ServiceRules(s, endpoints("10.128.2.7@node1"), testFacts()))
	})
	cost("a restarted agent", 0, func() { *r = *NewNFTables(r.tables) })
}

func TestNFTablesRemove(t *testing.T) {
	r, fake := fakeNFTables()
	if err := r.Remove(t.Context()); err != nil || fake.operations != 0 {
		t.Fatalf("nothing to remove: %v, %d operations", err, fake.operations)
	}
	syncAll(t, r, testLedger(service(everything)))
	if err := r.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := strings.TrimSpace(fake.Dump()); left != "add table inet ovn-kubernetes" {
		t.Errorf("left behind: %s", left)
	}
}

// Whoever comes from outside must find nothing that leads to a load balancer that is not for everybody, in neither form.
func TestRestrictedLoadBalancerIsForTheHostAlone(t *testing.T) {
	l := testLedger(service(func(s *kube.Service) {
		s.Ports[0].NodePort = 0
		s.LoadBalancerIPs, s.SourceRanges = addrs("192.0.2.2", "2001:db8::2"), []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	}))
	r, fake := fakeNFTables()
	syncAll(t, r, l)
	var got []string
	for line := range strings.Lines(fake.Dump()) {
		if element, ok := strings.CutPrefix(line, "add element inet ovn-kubernetes "); ok {
			got = append(got, strings.TrimSpace(element))
		}
		if strings.Contains(line, "chain") && !strings.Contains(line, " "+names.NFTChainServicesOutput+" ") && strings.Contains(line, "jump "+names.NFTChainServicesITP) {
			t.Errorf("not only the host gets there: %s", line)
		}
	}
	for _, v4 := range []bool{true, false} {
		for _, c := range chainSpecs(testFacts(), l, v4) {
			if slices.ContainsFunc(c.rules, func(rule string) bool { return strings.Contains(rule, "--dport 80 ") }) {
				got = append(got, c.jumps...)
				got = append(got, c.rules...)
			}
		}
	}
	want := []string{
		"itp-local-v4 { 192.0.2.2 . tcp . 80 : 172.30.44.86 . 80 }",
		"itp-local-v6 { 2001:db8::2 . tcp . 80 : fd02::5 . 80 }",
		"-A OUTPUT -j OVN-KUBE-ITP", "-A OVN-KUBE-ITP -d 192.0.2.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.30.44.86:80",
		"-A OUTPUT -j OVN-KUBE-ITP", "-A OVN-KUBE-ITP -d 2001:db8::2/128 -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd02::5]:80",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
