package kube

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// New connections that must stay on a node go to its ready endpoints of the port and family, to draining ones as the last resort.
func TestUsableOn(t *testing.T) {
	at := func(address, node string, ready, draining bool) Endpoint {
		return Endpoint{Address: netip.MustParseAddr(address), Node: node, Ready: ready, Serving: ready || draining, Terminating: draining}
	}
	slice := func(name string, port uint16, e ...Endpoint) *EndpointSlice {
		return &EndpointSlice{Ports: []EndpointPort{{name, corev1.ProtocolTCP, port}}, Endpoints: e}
	}
	for name, c := range map[string]struct {
		slices []*EndpointSlice
		want   string
	}{
		"none":             {nil, "[]"},
		"another port":     {[]*EndpointSlice{slice("dns", 53, at("10.0.0.1", "a", true, false))}, "[]"},
		"another node":     {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "b", true, false))}, "[]"},
		"another family":   {[]*EndpointSlice{slice("http", 80, at("fd00::1", "a", true, false))}, "[]"},
		"not ready":        {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "a", false, false))}, "[]"},
		"draining":         {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "a", false, true))}, "[10.0.0.1:80]"},
		"one is ready":     {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "a", false, true), at("10.0.0.2", "a", true, false))}, "[10.0.0.2:80]"},
		"ready elsewhere":  {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "a", false, true), at("10.0.0.2", "b", true, false))}, "[10.0.0.1:80]"},
		"in order, once":   {[]*EndpointSlice{slice("http", 80, at("10.0.0.2", "a", true, false)), slice("http", 80, at("10.0.0.1", "a", true, false), at("10.0.0.2", "a", true, false))}, "[10.0.0.1:80 10.0.0.2:80]"},
		"moving: in two":   {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "a", false, true)), slice("http", 80, at("10.0.0.1", "a", true, false))}, "[10.0.0.1:80]"},
		"ports of slices":  {[]*EndpointSlice{slice("http", 80, at("10.0.0.1", "a", true, false)), slice("http", 81, at("10.0.0.1", "a", true, false))}, "[10.0.0.1:80 10.0.0.1:81]"},
		"ends, not serves": {[]*EndpointSlice{slice("http", 80, Endpoint{Address: netip.MustParseAddr("10.0.0.1"), Node: "a", Terminating: true})}, "[]"},
	} {
		got := UsableOn("a", c.slices, ServicePort{Name: "http", Protocol: corev1.ProtocolTCP}, true)
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

// Connections that must stay on whichever node they are on reach what drains on nodes without a ready endpoint, and nothing else that drains.
func TestUsableOnSomeNode(t *testing.T) {
	draining := func(address, node string) Endpoint {
		return Endpoint{Address: netip.MustParseAddr(address), Node: node, Serving: true, Terminating: true}
	}
	ready := func(address, node string) Endpoint {
		return Endpoint{Address: netip.MustParseAddr(address), Node: node, Ready: true, Serving: true}
	}
	slices := []*EndpointSlice{{
		Ports: []EndpointPort{{"dns", corev1.ProtocolUDP, 53}},
		Endpoints: []Endpoint{
			ready("10.0.0.3", "b"), draining("10.0.0.4", "b"), draining("10.0.0.2", "a"), ready("10.0.0.1", ""), ready("fd00::1", "c"),
			{Address: netip.MustParseAddr("10.0.0.5"), Node: "d"},
		},
	}}
	got := UsableOnSomeNode(slices, ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP}, true)
	if want := "[10.0.0.1:53 10.0.0.2:53 10.0.0.3:53]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
