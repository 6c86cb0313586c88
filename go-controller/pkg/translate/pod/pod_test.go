package pod

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/golden"
)

var update = golden.Update()

// The input is a Pod whose annotation says what was allocated to it.
func TestGolden(t *testing.T) {
	for _, file := range golden.Cases(t) {
		t.Run(file, func(t *testing.T) {
			var in corev1.Pod
			golden.Load(t, file, &in)
			network, err := annotations.ParsePodNetwork(in.Annotations)
			if err != nil {
				t.Fatal(err)
			}
			a := Attachment{MAC: network.MAC}
			for _, p := range network.Addresses {
				a.Addresses = append(a.Addresses, p.Addr())
			}
			golden.Check(t, file, Rows(kube.NewPod(&in), a), *update)
		})
	}
}

func TestNetwork(t *testing.T) {
	a := Attachment{Addresses: []netip.Addr{netip.MustParseAddr("10.128.2.5"), netip.MustParseAddr("fd01:0:0:2::5")}}
	a.MAC = addr.MAC(a.Addresses...)
	subnets := []netip.Prefix{netip.MustParsePrefix("10.128.2.0/23"), netip.MustParsePrefix("fd01:0:0:2::/64")}
	got := annotations.FormatPodNetwork(Network(a, subnets, addr.Router))
	want := `{"default":{"ip_addresses":["10.128.2.5/23","fd01:0:0:2::5/64"],"mac_address":"0a:58:0a:80:02:05","gateway_ips":["10.128.2.1","fd01:0:0:2::1"],"role":"primary"}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("annotation (-want +got):\n%s", diff)
	}
}
