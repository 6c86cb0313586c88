package trace

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
)

// A gateway router that has yet to learn who the cluster router is does not drop the packet: it asks, and the packet goes on.
func TestOnwards(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("testdata", name+".ovn-trace"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const learned = ", once the router has learned the hardware address of the next hop"
	balanced := func(how string) string {
		return strings.Replace(read("from-outside"), "uuid 7a2e3e41\n    next;", "uuid 7a2e3e41\n    ct_lb_mark(backends=10.128.2.4:81; "+how+");", 1)
	}
	toDB := strings.ReplaceAll(read("join"), "shop_web", "shop_db")
	for _, c := range []struct{ name, from, to, said, then, asked, verdict string }{
		{"from outside to a pod", "172.18.0.200", "shop/db:80", read("from-outside"), toDB,
			`eth.src == 0a:58:64:40:00:02 && eth.dst == 0a:58:64:40:00:01 && ip4.src == 172.18.0.200 && ip4.dst == 10.128.2.4`, "allowed: arrives at pod shop/db" + learned},
		{"from a node to a service", "node/node1", "service/db:80", balanced("force_snat"), toDB, `ip4.src == 100.64.0.2 && ip4.dst == 10.128.2.4 && ip.ttl == 64 && tcp && tcp.src == 40000 && tcp.dst == 81`,
			"allowed: arrives at pod shop/db" + learned},
		{"from a node to a service, with the node's address", "node/node1", "service/db:80", balanced("skip_snat"), toDB, `ip4.src == 172.18.0.11 && ip4.dst == 10.128.2.4`, "allowed: arrives at pod shop/db" + learned},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &inspecttest.Access{Answers: map[string]string{`inport == "br-ex_node1"`: c.said, `inport == "jtor-GR_node1"`: c.then}}
			o := options(t, a)
			o.Via = "node1"
			r, err := Trace(context.Background(), o, c.from, c.to)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != c.verdict || !r.Arrives {
				t.Errorf("verdict %q, want %q; path %q", r.Verdict, c.verdict, r.Connections[0].Path)
			}
			if len(a.Ran) != 2 || !strings.Contains(a.Ran[1], c.asked) {
				t.Errorf("asked %q, want %q in the second question", a.Ran, c.asked)
			}
		})
	}
}
