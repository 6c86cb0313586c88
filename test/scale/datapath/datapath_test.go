package datapath

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestMedianIsAMeasuredValue(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2}, {[]float64{7}, 7}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestNodePortsAreThoseOfTheService(t *testing.T) {
	s := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: sinkPort, NodePort: 30001}, {Port: httpPorts, NodePort: 30003}}}}
	to := nodePorts(s, netip.MustParseAddr("192.0.2.1"))
	if got := to(httpPorts); got != netip.MustParseAddrPort("192.0.2.1:30003") {
		t.Errorf("port %d is reached at %s", httpPorts, got)
	}
}

func TestNoTurnUsesThePortOfAnother(t *testing.T) {
	b := &bench{Options: Options{Rounds: 9}}
	open := map[uint16]int{}
	for _, p := range b.ports() {
		open[p]++
	}
	used := map[uint16]bool{}
	for turn := range b.Rounds * pathCount {
		p := httpPort(turn)
		if used[p] || open[p] != 1 {
			t.Errorf("turn %d: port %d is used by an earlier turn (%v), %d servers listen at it", turn, p, used[p], open[p])
		}
		used[p] = true
	}
}
