package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func networks(in ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestServiceNetworks(t *testing.T) {
	configured := networks("172.30.0.0/16", "fd02::/112")
	taken := networks("10.128.0.0/14", "172.18.0.11/32")
	for name, c := range map[string]struct {
		objects       [][]string
		want, refused string
	}{
		"none":            {nil, "[172.30.0.0/16 fd02::/112]", "[]"},
		"the default one": {[][]string{{"172.30.0.0/16", "fd02::/112"}}, "[172.30.0.0/16 fd02::/112]", "[]"},
		"more, in order":  {[][]string{{"172.29.5.1/16"}, {"fd03::/112", "10.1.0.0/24"}}, "[172.29.0.0/16 172.30.0.0/16 10.1.0.0/24 fd02::/112 fd03::/112]", "[]"},
		"part of another": {[][]string{{"172.30.7.0/24"}}, "[172.30.0.0/16 fd02::/112]", "[]"},
		"wider":           {[][]string{{"172.16.0.0/13"}, {"172.24.0.0/13"}}, "[172.24.0.0/13 fd02::/112]", "[172.16.0.0/13]"},
		"over the pods'":  {[][]string{{"10.0.0.0/8"}}, "[172.30.0.0/16 fd02::/112]", "[10.0.0.0/8]"},
		"no network":      {[][]string{{"nonsense"}}, "[172.30.0.0/16 fd02::/112]", "[]"},
		"over the host's": {[][]string{{"172.18.0.0/16"}}, "[172.30.0.0/16 fd02::/112]", "[172.18.0.0/16]"},
		"the same twice":  {[][]string{{"10.1.0.0/24"}, {"10.1.0.0/24"}}, "[172.30.0.0/16 10.1.0.0/24 fd02::/112]", "[]"},
	} {
		var objects []*ServiceCIDR
		for i, cidrs := range c.objects {
			object := &networkingv1.ServiceCIDR{}
			object.Name, object.Spec.CIDRs = fmt.Sprint(i), cidrs
			objects = append(objects, NewServiceCIDR(object))
		}
		use, refused := ServiceNetworks(configured, objects, taken)
		if fmt.Sprint(use) != c.want || fmt.Sprint(refused) != c.refused {
			t.Errorf("%s: %v, refused %v; want %s, refused %s", name, use, refused, c.want, c.refused)
		}
	}
}

// To an API server that does not know the kind there are none, and that is certain.
func TestServiceCIDRsOfAnOldCluster(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden} {
		asked := make(chan string, 100)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.Query().Get("watch")
			http.Error(w, "no", status)
		}))
		client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		m, ended := NewServiceCIDRMirror(), make(chan struct{})
		go func() { m.Run(ctx, ServiceCIDRs(client.NetworkingV1())); close(ended) }()
		select {
		case <-m.Synced():
		case <-ctx.Done():
			t.Errorf("%d: the mirror still waits for a list", status)
		}
		for list := true; list; list = <-asked == "" { // the watch comes last
		}
		cancel()
		<-ended
		server.Close()
		if len(asked) > 0 || len(m.All()) > 0 {
			t.Errorf("%d: asked %d times more, has %v", status, len(asked), m.All())
		}
	}
}

// An agent may start before it is allowed to see them: those that there are then come soon, not after the longest pause.
func TestServiceCIDRsOnceAllowed(t *testing.T) {
	var allowed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !allowed.Load():
			allowed.Store(r.URL.Query().Has("watch")) // after the first watch
			http.Error(w, "no", http.StatusForbidden)
		case r.URL.Query().Has("watch"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintln(w, `{"type":"ADDED","object":{"apiVersion":"networking.k8s.io/v1","kind":"ServiceCIDR","metadata":{"name":"more"},"spec":{"cidrs":["10.1.0.0/24"]}}}`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	m, ended := NewServiceCIDRMirror(), make(chan struct{})
	came := make(chan *ServiceCIDR, 1)
	m.OnChange(func(_ string, _, after *ServiceCIDR) { came <- after })
	go func() { m.Run(ctx, ServiceCIDRs(client.NetworkingV1())); close(ended) }()
	select {
	case object := <-came:
		if fmt.Sprint(object.Prefixes) != "[10.1.0.0/24]" {
			t.Errorf("got %v", object)
		}
	case <-ctx.Done():
		t.Error("not seen although it may be")
	}
	cancel()
	<-ended
}

func TestSilenceEnds(t *testing.T) {
	s := newSilence(t.Context(), time.Hour)
	s.Stop()
	if _, open := <-s.ResultChan(); open {
		t.Error("silence has been broken")
	}
	if _, open := <-newSilence(t.Context(), time.Millisecond).ResultChan(); open {
		t.Error("silence has been broken")
	}
}
