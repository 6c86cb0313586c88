package nft

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"sigs.k8s.io/knftables"
)

func fakeRunner() (Runner, map[string]*knftables.Fake) {
	fakes := map[string]*knftables.Fake{}
	return Runner{New: func(family knftables.Family, table string, _ ...knftables.Option) (knftables.Interface, error) {
		key := string(family) + " " + table
		if fakes[key] == nil {
			fakes[key] = knftables.NewFake(family, table)
		}
		return fakes[key], nil
	}}, fakes
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func ensure(t *testing.T, r Runner, table Table) bool {
	t.Helper()
	changed, err := r.Ensure(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestMasqueradeRules(t *testing.T) {
	r, fakes := fakeRunner()
	table := Masquerade(prefixes("fd01:0:0:1::/64", "10.128.2.0/23"), prefixes("10.128.0.0/14", "fd01::/48"))
	ensure(t, r, table)
	dump := fakes["inet ovn-kubernetes"].Dump()
	// The order matters: traffic within the cluster leaves the chain first.
	want := []string{
		"ip saddr 10.128.2.0/23 ip daddr 10.128.0.0/14 return", `ip saddr 10.128.2.0/23 oifname != "ovn-k8s-mp0" masquerade`,
		"ip6 saddr fd01:0:0:1::/64 ip6 daddr fd01::/48 return", `ip6 saddr fd01:0:0:1::/64 oifname != "ovn-k8s-mp0" masquerade`,
	}
	at := 0
	for _, rule := range want {
		i := strings.Index(dump[at:], rule)
		if i < 0 {
			t.Fatalf("no %q, or not in this place, in\n%s", rule, dump)
		}
		at += i
	}
	if !strings.Contains(dump, "type nat hook postrouting priority 100") {
		t.Errorf("not a source NAT chain:\n%s", dump)
	}
}

func TestToServices(t *testing.T) {
	r, fakes := fakeRunner()
	ensure(t, r, Table{Family: knftables.InetFamily, Name: "ovn-kubernetes", Chains: []Chain{ToServices(prefixes("fd02::/112", "172.30.0.0/16"))}})
	dump := fakes["inet ovn-kubernetes"].Dump()
	for _, rule := range []string{
		`oifname "br-ex" ip daddr 172.30.0.0/16 ip saddr != 169.254.169.2 snat ip to 169.254.169.2`,
		`oifname "br-ex" ip6 daddr fd02::/112 ip6 saddr != fd69::2 snat ip6 to fd69::2`,
		`ip saddr 169.254.169.1 masquerade`,
		`ip6 saddr fd69::1 masquerade`,
	} {
		if !strings.Contains(dump, rule) {
			t.Errorf("no %q in\n%s", rule, dump)
		}
	}
}

func TestEnsureRepairs(t *testing.T) {
	table := Masquerade(prefixes("10.128.2.0/23"), prefixes("10.128.0.0/14"))
	damages := map[string]func(ctx context.Context, nft knftables.Interface) error{
		"nothing": nil,
		"rule deleted": func(ctx context.Context, nft knftables.Interface) error {
			rules, err := nft.ListRules(ctx, "pod-masquerade")
			if err != nil {
				return err
			}
			tx := nft.NewTransaction()
			tx.Delete(rules[0])
			return nft.Run(ctx, tx)
		},
		"rule added": func(ctx context.Context, nft knftables.Interface) error {
			tx := nft.NewTransaction()
			tx.Insert(&knftables.Rule{Chain: "pod-masquerade", Rule: "accept"})
			return nft.Run(ctx, tx)
		},
		"chain flushed": func(ctx context.Context, nft knftables.Interface) error {
			tx := nft.NewTransaction()
			tx.Flush(&knftables.Chain{Name: "pod-masquerade"})
			return nft.Run(ctx, tx)
		},
		"table deleted": func(ctx context.Context, nft knftables.Interface) error {
			tx := nft.NewTransaction()
			tx.Delete(&knftables.Table{})
			return nft.Run(ctx, tx)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			r, fakes := fakeRunner()
			if !ensure(t, r, table) {
				t.Fatal("nothing was written")
			}
			fake := fakes["inet ovn-kubernetes"]
			before := fake.Dump()
			if damage != nil {
				if err := damage(t.Context(), fake); err != nil {
					t.Fatal(err)
				}
			}
			if changed := ensure(t, r, table); changed != (damage != nil) {
				t.Errorf("changed: %t", changed)
			}
			if after := fake.Dump(); after != before {
				t.Errorf("was\n%s\nis\n%s", before, after)
			}
		})
	}
}

func TestUplinkDropsOnItsDevice(t *testing.T) {
	r, fakes := fakeRunner()
	ensure(t, r, Uplink("eth7"))
	dump := fakes["netdev ovn-kubernetes-uplink"].Dump()
	for _, want := range []string{"hook ingress device \"eth7\"", "drop"} {
		if !strings.Contains(dump, want) {
			t.Errorf("no %q in\n%s", want, dump)
		}
	}
	if err := r.Remove(t.Context(), Uplink("")); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Present(t.Context(), Uplink("eth7")); ok || err != nil {
		t.Errorf("still there: %t %v", ok, err)
	}
}

// Two who share a table must neither rewrite nor remove what the other keeps there.
func TestSharedTable(t *testing.T) {
	r, fakes := fakeRunner()
	mine := Masquerade(prefixes("10.128.2.0/23"), prefixes("10.128.0.0/14"))
	other := Table{
		Family: mine.Family, Name: mine.Name, Shared: true,
		Maps: []knftables.Map{{Name: "ports", Type: "inet_service : ipv4_addr"}},
		Chains: []Chain{
			{Name: "entry", Type: knftables.NATType, Hook: knftables.PreroutingHook, Priority: knftables.DNATPriority, Rules: []string{"jump work"}},
			{Name: "work", Rules: []string{"dnat ip to tcp dport map @ports"}},
		},
	}
	for _, table := range []Table{mine, other} {
		if !ensure(t, r, table) {
			t.Errorf("%s was not written", table.Chains[0].Name)
		}
	}
	if ensure(t, r, mine) || ensure(t, r, other) {
		t.Error("what is in place was written again")
	}
	changed := Masquerade(prefixes("10.128.4.0/23"), prefixes("10.128.0.0/14"))
	if !ensure(t, r, changed) || ensure(t, r, other) {
		t.Error("a change of one is not a change of that one alone")
	}
	if err := r.Remove(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if dump := fakes["inet ovn-kubernetes"].Dump(); strings.Contains(dump, "work") || strings.Contains(dump, "ports") {
		t.Errorf("left behind:\n%s", dump)
	}
	if ensure(t, r, changed) {
		t.Error("removing one has removed the other")
	}
}
