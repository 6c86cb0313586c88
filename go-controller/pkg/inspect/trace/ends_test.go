package trace

import (
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
)

// only leaves the addresses of one family to a pod, by the sign that is in them.
func only(o *Options, pod, sign string) {
	for i := range o.Objects.Pods {
		p := &o.Objects.Pods[i]
		for j := range p.Status.PodIPs {
			if p.Name == pod && strings.Contains(p.Status.PodIPs[j].IP, sign) {
				p.Status.PodIPs = p.Status.PodIPs[j : j+1]
				break
			}
		}
	}
}

// Names have addresses of the family that both ends have, IPv4 rather than IPv6; services have names of DNS, too.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		ipv6           bool
		change         func(*Options)
		addresses      string
		wrong          string
	}{
		{"IPv4 is taken first", "guests/client", "shop/web:80", false, nil, "10.128.0.5 10.128.0.4", ""},
		{"IPv6 when asked for", "guests/client", "shop/web:80", true, nil, "fd01::5 fd01::4", ""},
		{"the source has IPv6 only", "guests/client", "shop/web:80", false, func(o *Options) { only(o, "client", ":") }, "fd01::5 fd01::4", ""},
		{"the destination has IPv6 only", "guests/client", "shop/web:80", false, func(o *Options) { only(o, "web", ":") }, "fd01::5 fd01::4", ""},
		{"they have no family together", "guests/client", "shop/web:80", false, func(o *Options) { only(o, "web", ":"); only(o, "client", ".") }, "", "pod shop/web (Running) has no IPv4 address"},
		{"IPv6 is asked for and is not there", "guests/client", "service/db:80", true, nil, "", "service shop/db has no IPv6 cluster IP"},
		{"an address decides", "guests/client", "[fd01::4]:80", false, nil, "fd01::5 fd01::4", ""},
		{"an address decides against", "10.128.0.5", "shop/web:80", false, func(o *Options) { only(o, "web", ":") }, "", "has no IPv4 address"},
		{"a service by its name in DNS", "guests/client", "db.shop.svc:80", false, nil, "10.128.0.5 172.30.117.171", ""},
		{"with the cluster's domain", "guests/client", "kube-dns.kube-system.svc.cluster.local.:53", true, nil, "fd01::5 fd02::a", ""},
		{"with its kind", "guests/client", "service/db.shop.svc:80", false, nil, "10.128.0.5 172.30.117.171", ""},
		{"there is no such service", "guests/client", "nosuch.shop.svc:80", false, nil, "", "no pod or service shop/nosuch"},
		{"pods have no such names", "guests/client", "pod/db.shop.svc:80", false, nil, "", "no pod or service shop/db.shop.svc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t, &inspecttest.Access{})
			o.IPv6 = c.ipv6
			if c.change != nil {
				c.change(&o)
			}
			tr := &tracer{Options: o, v4: !o.IPv6}
			from, to, err := tr.ends(c.from, c.to)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("error %v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := from.address.String() + " " + to.address.String(); got != c.addresses || tr.v4 != to.address.Is4() {
				t.Errorf("%s (IPv4: %v), want %s", got, tr.v4, c.addresses)
			}
		})
	}
}
