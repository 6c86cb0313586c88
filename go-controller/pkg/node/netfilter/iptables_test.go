package netfilter

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

func everything(s *kube.Service) {
	s.ExternalLocal, s.InternalLocal = true, true
	s.ExternalIPs, s.LoadBalancerIPs = addrs("192.0.2.1", "2001:db8::1"), addrs("192.0.2.2")
}

func testLedger(services ...*kube.Service) *Ledger {
	l := NewLedger()
	for _, s := range services {
		l.Set(s.Key(), ServiceRules(s, nil, testFacts()))
	}
	return l
}

// What operators look for, to the letter.
func TestIPTablesText(t *testing.T) {
	for _, c := range []struct {
		v4   bool
		want string
	}{
		{true, `nat OVN-KUBE-ETP
	-A PREROUTING -j OVN-KUBE-ETP
-A OVN-KUBE-ETP -i ovn-k8s-mp0 -j RETURN
-A OVN-KUBE-ETP -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination 169.254.169.3:31785
-A OVN-KUBE-ETP -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 169.254.169.3:31785
-A OVN-KUBE-ETP -d 192.0.2.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 169.254.169.3:31785
nat OVN-KUBE-EXTERNALIP
	-A PREROUTING -j OVN-KUBE-EXTERNALIP
	-A OUTPUT -j OVN-KUBE-EXTERNALIP
-A OVN-KUBE-EXTERNALIP -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.30.44.86:80
-A OVN-KUBE-EXTERNALIP -d 192.0.2.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.30.44.86:80
nat OVN-KUBE-NODEPORT
	-A PREROUTING -j OVN-KUBE-NODEPORT
	-A OUTPUT -j OVN-KUBE-NODEPORT
-A OVN-KUBE-NODEPORT -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination 172.30.44.86:80
nat OVN-KUBE-SNAT-MGMTPORT
	-A POSTROUTING -o ovn-k8s-mp0 -j OVN-KUBE-SNAT-MGMTPORT
-A OVN-KUBE-SNAT-MGMTPORT -d 169.254.169.3/32 -j RETURN
-A OVN-KUBE-SNAT-MGMTPORT -d 10.128.2.0/23 -m addrtype ! --src-type LOCAL -j SNAT --to-source 169.254.169.7
-A OVN-KUBE-SNAT-MGMTPORT -j SNAT --to-source 10.128.2.2
mangle OVN-KUBE-ITP
	-A OUTPUT -j OVN-KUBE-ITP
-A OVN-KUBE-ITP -d 172.30.44.86/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1745ec/0xffffffff
`},
		{false, `nat OVN-KUBE-ETP
	-A PREROUTING -j OVN-KUBE-ETP
-A OVN-KUBE-ETP -i ovn-k8s-mp0 -j RETURN
-A OVN-KUBE-ETP -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination [fd69::3]:31785
-A OVN-KUBE-ETP -d 2001:db8::1/128 -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd69::3]:31785
nat OVN-KUBE-EXTERNALIP
	-A PREROUTING -j OVN-KUBE-EXTERNALIP
	-A OUTPUT -j OVN-KUBE-EXTERNALIP
-A OVN-KUBE-EXTERNALIP -d 2001:db8::1/128 -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd02::5]:80
nat OVN-KUBE-NODEPORT
	-A PREROUTING -j OVN-KUBE-NODEPORT
	-A OUTPUT -j OVN-KUBE-NODEPORT
-A OVN-KUBE-NODEPORT -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination [fd02::5]:80
nat OVN-KUBE-SNAT-MGMTPORT
	-A POSTROUTING -o ovn-k8s-mp0 -j OVN-KUBE-SNAT-MGMTPORT
-A OVN-KUBE-SNAT-MGMTPORT -d fd69::3/128 -j RETURN
-A OVN-KUBE-SNAT-MGMTPORT -d fd01:0:0:1::/64 -m addrtype ! --src-type LOCAL -j SNAT --to-source fd69::7
-A OVN-KUBE-SNAT-MGMTPORT -j SNAT --to-source fd01:0:0:1::2
mangle OVN-KUBE-ITP
	-A OUTPUT -j OVN-KUBE-ITP
-A OVN-KUBE-ITP -d fd02::5/128 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1745ec/0xffffffff
`},
	} {
		var got strings.Builder
		for _, spec := range chainSpecs(testFacts(), testLedger(service(everything)), c.v4) {
			fmt.Fprintf(&got, "%s %s\n", spec.table, spec.chain)
			for _, jump := range spec.jumps {
				fmt.Fprintf(&got, "\t%s\n", jump)
			}
			for _, rule := range slices.Concat(spec.fixed, spec.rules) {
				fmt.Fprintln(&got, rule)
			}
		}
		if diff := cmp.Diff(c.want, got.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestIPTablesReadsBackWhatItWrites(t *testing.T) {
	l := testLedger(service(everything))
	for _, k := range l.Keys() {
		to, _ := l.Get(k)
		gotKey, gotTo, ok := parseRule(placeOf(k.Kind), ruleText(k, to), k.V4)
		if !ok || gotKey != k || gotTo != to {
			t.Errorf("%q: read as %+v %v, %t", ruleText(k, to), gotKey, gotTo, ok)
		}
	}
	for _, text := range []string{
		"-A OVN-KUBE-NODEPORT -p tcp -m tcp --dport 80 -j ACCEPT", "-A OVN-KUBE-NODEPORT -j OTHER",
		"-A OVN-KUBE-NODEPORT -s 10.0.0.0/8 -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination 172.30.44.86:80",
	} {
		if k, _, ok := parseRule(placeOf(NodePort), text, true); ok {
			t.Errorf("%q was read as %+v", text, k)
		}
	}
}

// kernel imitates what iptables-restore --noflush does with the lines.
type kernel struct {
	t      *testing.T
	chains chains
}

func (k kernel) restore(edits map[string][]string) (lines int) {
	for table, in := range edits {
		for _, line := range in {
			lines++
			verb, rest, _ := strings.Cut(line, " ")
			name, rule, _ := strings.Cut(rest, " ")
			at := place{table, name}
			switch verb {
			case "-A":
				k.chains[at] = append(k.chains[at], line)
			case "-I":
				var position int
				position, rule = k.position(rule)
				k.chains[at] = slices.Insert(k.chains[at], position-1, "-A "+name+" "+rule)
			case "-D":
				i := slices.Index(k.chains[at], "-A "+name+" "+rule)
				if i < 0 {
					k.t.Fatalf("no rule to delete: %s", line)
				}
				k.chains[at] = slices.Delete(k.chains[at], i, i+1)
			case "-F":
				k.chains[at] = nil
			case "-X":
				for _, rules := range k.chains {
					for _, r := range rules {
						if targetOf(r) == name && strings.HasPrefix(r, "-A") && len(k.chains[at]) > 0 {
							k.t.Fatalf("%s is in use", name)
						}
					}
				}
				delete(k.chains, at)
			default:
				k.chains[place{table, strings.TrimPrefix(verb, ":")}] = nil
			}
		}
	}
	return lines
}

func (k kernel) position(rule string) (int, string) {
	number, rest, _ := strings.Cut(rule, " ")
	var n int
	if _, err := fmt.Sscan(number, &n); err != nil {
		k.t.Fatal(err)
	}
	return n, rest
}

func TestIPTablesDifference(t *testing.T) {
	foreign := "-A PREROUTING -m comment --comment \"not ours\" -j OTHER"
	k := kernel{t, chains{}}
	for _, hook := range hookChains {
		k.chains[hook] = nil
	}
	k.chains[hookChains[0]] = []string{foreign}
	empty := chainSpecs(testFacts(), NewLedger(), true)
	k.restore(edits(k.chains, empty))
	if n := k.restore(edits(k.chains, empty)); n != 0 {
		t.Errorf("a second run writes %d lines", n)
	}
	one := chainSpecs(testFacts(), testLedger(service(nil)), true)
	if n := k.restore(edits(k.chains, one)); n != 1 {
		t.Errorf("one port more costs %d lines", n)
	}
	moved := chainSpecs(testFacts(), testLedger(service(func(s *kube.Service) { s.ClusterIPs = addrs("172.30.0.9") })), true)
	if n := k.restore(edits(k.chains, moved)); n != 2 {
		t.Errorf("another cluster IP costs %d lines", n)
	}
	full := chainSpecs(testFacts(), testLedger(service(everything)), true)
	random := rand.New(rand.NewPCG(1, 2))
	places := append(slices.Clone(hookChains[:3]), placeOf(NodePort), placeOf(LocalNodePort), placeOf(KeepSource))
	for i := range 300 {
		k.restore(edits(k.chains, full))
		if left := edits(k.chains, full); k.restore(left) != 0 {
			t.Fatalf("round %d: still to do: %v", i, left)
		}
		if !slices.Contains(k.chains[hookChains[0]], foreign) {
			t.Fatalf("round %d: the foreign rule is gone", i)
		}
		p := places[random.IntN(len(places))]
		rules := k.chains[p]
		switch random.IntN(3) {
		case 0:
			random.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
		case 1:
			if j := random.IntN(len(rules) + 1); j < len(rules) && rules[j] != foreign {
				k.chains[p] = slices.Delete(rules, j, j+1)
			}
		case 2:
			k.chains[p] = append(rules, "-A "+p.chain+" -p udp -j ACCEPT")
			if slices.Contains(hookChains, p) {
				k.chains[p] = rules
			}
		}
	}
	k.restore(edits(k.chains, nil))
	want := chains{hookChains[0]: {foreign}, hookChains[1]: {}, hookChains[2]: {}, hookChains[3]: nil}
	for p, rules := range k.chains {
		if !slices.Equal(rules, want[p]) {
			t.Errorf("left in %v: %q", p, rules)
		}
	}
}

// Chains that cannot be read for a passing reason are not taken for empty; where there is no such table, nothing is left to do.
func TestUnreadableIPTables(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		fails  bool
	}{
		"lock":     {`echo "Another app is currently holding the xtables lock." >&2; exit 4`, true},
		"no table": {`echo "iptables v1.8.9 (legacy): can't initialize iptables table 'nat': Table does not exist (do you need to insmod?)" >&2; exit 3`, false},
		"no IPv6":  {`echo "ip6tables v1.8.9 (legacy): can't initialize ip6tables table 'nat': Address family not supported by protocol" >&2; exit 3`, false},
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'iptables v1.8.9 (legacy)'; exit 0; }\n" + c.script + "\n"
		for _, program := range []string{"iptables", "ip6tables"} {
			if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", dir+":/bin:/usr/bin")
		if err := NewIPTables().Remove(t.Context()); (err != nil) != c.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := NewIPTables().Remove(t.Context()); err != nil {
		t.Errorf("without iptables: %v", err)
	}
}
