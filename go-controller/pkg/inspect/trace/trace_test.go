package trace

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

var update = flag.Bool("update", false, "write the golden files")

// cases are what ovn-trace said in the cluster of inspecttest, by the name of the file.
var cases = []struct {
	name, from, to string
	protocol       corev1.Protocol
	// microflow is a part of what ovn-trace has to be asked.
	microflow string
	verdict   string
}{
	{"policy-drops", "guests/client", "shop/web:80", "TCP", `inport == "guests_client" && eth.src == 0a:58:0a:80:00:05 && eth.dst == 0a:58:0a:80:00:04 && ip4.src == 10.128.0.5 && ip4.dst == 10.128.0.4`,
		"dropped by NetworkPolicy shop/web-from-blue (ingress rule 0 does not allow from guests/client; ingress rule 1 does not allow tcp/80)"},
	{"policy-allows-udp", "guests/client", "shop/web:81", "UDP", `udp && udp.src == 40000 && udp.dst == 81`, "allowed: arrives at pod shop/web"},
	{"other-node", "pod/shop/db", "web", "TCP", `eth.dst == 0a:58:0a:80:02:01 && ip4.src == 10.128.2.4`, "allowed: arrives at pod shop/web"},
	{"service", "guests/client", "service/db", "TCP", `eth.dst == 0a:58:0a:80:00:01 && ip4.src == 10.128.0.5 && ip4.dst == 172.30.117.171`, "allowed: arrives at pod shop/db"},
	{"outside", "guests/client", "172.18.0.201:80", "TCP", `ip4.dst == 172.18.0.201`,
		"allowed: leaves the cluster's network by br-ex, once the router has learned the hardware address of the next hop"},
	{"own-node-address", "guests/client", "node/node1:80", "TCP", `ip4.dst == 172.18.0.11`, "allowed: arrives at node node1"},
	{"from-node", "node/node1", "shop/web:80", "TCP", `inport == "k8s-node1" && eth.src == 0a:58:0a:80:00:02 && eth.dst == 0a:58:0a:80:00:04 && ip4.src == 10.128.0.2`,
		"allowed: arrives at pod shop/web"},
	{"no-service", "guests/client", "172.30.99.99:80", "TCP", `ip4.dst == 172.30.99.99`, "rejected by ACL no_service_IPv4 (Cluster no-services)"},
}

func options(t *testing.T, a *inspecttest.Access) Options {
	t.Helper()
	nb, err := database.Northbound(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Objects: &inspect.Objects{}, NB: nb, Access: a, Namespace: "shop", Protocol: corev1.ProtocolTCP, NoFlows: true}
	inspecttest.Objects(t, o.Objects)
	return o
}

func TestTrace(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			said, err := os.ReadFile(filepath.Join("testdata", c.name+".ovn-trace"))
			if err != nil {
				t.Fatal(err)
			}
			a := &inspecttest.Access{Answers: map[string]string{"ovn-trace": string(said)}}
			o := options(t, a)
			o.Protocol = c.protocol
			r, err := Trace(context.Background(), o, c.from, c.to)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Ran) != 1 || !strings.Contains(a.Ran[0], c.microflow) {
				t.Errorf("asked %q, want %q in it", a.Ran, c.microflow)
			}
			if !strings.Contains(a.Ran[0], "timeout 60 ovn-trace") {
				t.Errorf("asked %q, without a deadline", a.Ran)
			}
			if r.Verdict != c.verdict {
				t.Errorf("verdict %q, want %q", r.Verdict, c.verdict)
			}
			if arrives := strings.HasPrefix(c.verdict, "allowed"); r.Arrives != arrives {
				t.Errorf("arrives %v, want %v", r.Arrives, arrives)
			}
			checkText(t, c.name, r)
		})
	}
}

func checkText(t *testing.T, name string, r *Report) {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(output.NewPrinter(&b, output.Table)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// What OVN does against the policies is said as such.
func TestDisagreement(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("testdata", name+".ovn-trace"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range []struct{ said, protocol, port, want string }{
		{"policy-drops", "UDP", "81", "though the policies allow it: OVN has not followed yet"},
		{"policy-allows-udp", "TCP", "80", "arrives, though it is denied by NetworkPolicy shop/web-from-blue"},
		{"other-node", "UDP", "81", "allowed: arrives"},
		{"service", "UDP", "81", "goes astray: comes out at port shop_db, not at shop_web"},
	} {
		o := options(t, &inspecttest.Access{Answers: map[string]string{"ovn-trace": read(c.said)}})
		o.Protocol = corev1.Protocol(c.protocol)
		r, err := Trace(context.Background(), o, "guests/client", "shop/web:"+c.port)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.Verdict, c.want) {
			t.Errorf("%s: verdict %q, want %q in it", c.said, r.Verdict, c.want)
		}
	}
}

func TestEndsThatMakeNoSense(t *testing.T) {
	a := &inspecttest.Access{}
	o := options(t, a)
	for _, c := range []struct{ from, to, want string }{
		{"guests/client", "nosuch:80", "no pod or service shop/nosuch"},
		{"guests/client", "pod/db:80x", "not between 1 and 65535"},
		{"guests/client", "pod/db", "which port of pod shop/db"},
		{"guests/client", "service/db:81", "has no port 81/TCP; it has 80"},
		{"guests/client", "node/node1:30080", "node port of service shop/db"},
		{"10.128.0.5", "[fd01::4]:80", "not of one family"},
		{"service/db", "shop/web:80", "connections do not come from services"},
		{"172.18.0.200", "172.30.99.99:80", "--via"},
	} {
		_, err := Trace(context.Background(), o, c.from, c.to)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: error %v, want %q in it", c.from, c.to, err, c.want)
		}
	}
	r, err := Trace(context.Background(), o, "guests/client", "nobody")
	if err != nil || r.Arrives || !strings.Contains(r.Verdict, "service shop/nobody has no endpoint that is ready for port 80") || strings.Contains(r.Verdict, "node") {
		t.Errorf("a service without endpoints: %+v, %v", r, err)
	}
}

// What ovn-trace does not tell is no loss. All flows are listed once, however many connections are followed.
func TestUnknown(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "endpoint-given.ovn-trace"))
	if err != nil {
		t.Fatal(err)
	}
	said := slices.DeleteFunc(strings.SplitAfter(string(text), "\n"), func(line string) bool { return strings.Contains(line, "/* output to") })
	a := &inspecttest.Access{Answers: map[string]string{"ovn-trace": strings.Join(said, "")}}
	o := options(t, a)
	o.Protocol = corev1.ProtocolUDP
	r, err := Trace(context.Background(), o, "guests/client", "service/kube-system/kube-dns:53")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Connections) != 2 || r.Arrives || !r.Unknown || !strings.Contains(r.Verdict, "cannot be told") {
		t.Errorf("%+v", r)
	}
	if n := a.Listed["Logical_Flow"]; n != 1 {
		t.Errorf("all flows were listed %d times", n)
	}
}

// Each endpoint of a service is followed, those that OVN has no load balancer for are told.
func TestServiceWithSeveralEndpoints(t *testing.T) {
	said, err := os.ReadFile(filepath.Join("testdata", "endpoint-given.ovn-trace"))
	if err != nil {
		t.Fatal(err)
	}
	a := &inspecttest.Access{Answers: map[string]string{"ovn-trace": string(said)}}
	o := options(t, a)
	for i := range o.Objects.Slices {
		s := &o.Objects.Slices[i]
		if s.Labels["kubernetes.io/service-name"] == "db" {
			other := *s.Endpoints[0].DeepCopy()
			other.Addresses = []string{"10.128.0.9"}
			s.Endpoints = append(s.Endpoints, other)
		}
	}
	r, err := Trace(context.Background(), o, "guests/client", "service/db")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Ran) != 1 || !strings.Contains(a.Ran[0], "--lb-dst=10.128.2.4:81") {
		t.Errorf("asked %q", a.Ran)
	}
	if want := "1 of 2 endpoints are reached; 10.128.0.9:81 (10.128.0.9, outside): rejected by OVN: no load balancer leads from 172.30.117.171:80 to the endpoint"; r.Verdict != want {
		t.Errorf("verdict %q, want %q", r.Verdict, want)
	}
	checkText(t, "several", r)
}
