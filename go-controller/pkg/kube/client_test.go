package kube

import (
	"net/http"
	"net/http/httptest"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Neither lists of everything nor one request that hangs may cost a master its Lease.
func TestLeasesGoApart(t *testing.T) {
	connections := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		connections[r.URL.Path] = r.RemoteAddr
	}))
	defer server.Close()
	clients, err := NewClients(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = clients.Core.Nodes().Get(t.Context(), "n", metav1.GetOptions{})
	_, _ = clients.Coordination.Leases("ns").Get(t.Context(), "l", metav1.GetOptions{})
	_, _ = clients.Discovery.EndpointSlices("ns").Get(t.Context(), "e", metav1.GetOptions{})
	core, lease := connections["/api/v1/nodes/n"], connections["/apis/coordination.k8s.io/v1/namespaces/ns/leases/l"]
	if slices := connections["/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices/e"]; core == "" || slices != core {
		t.Errorf("lists use several connections: %v", connections)
	}
	if lease == "" || lease == core {
		t.Errorf("Leases share a connection with lists: %v", connections)
	}
	// Whose limit is the client's is told of it, and lets the request wait in its queues for a quarter of that only.
	if limit := clients.Coordination.RESTClient().(*rest.RESTClient).Client.Timeout; limit > 0 {
		t.Errorf("requests for Leases have a limit that the API server is told of: %s", limit)
	}
}

// A connection that is dead costs one request, a request that is refused no time: who campaigns has its own pace.
func TestLeaseRequestsEndAtOnce(t *testing.T) {
	requests := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.ProtoMajor != 1 {
			t.Errorf("%s %s: its connection outlives a request that hangs", r.Proto, r.URL.Path)
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	clients, err := NewClients(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = clients.Coordination.Leases("ns").Get(t.Context(), "l", metav1.GetOptions{})
	if !apierrors.IsTooManyRequests(err) || requests != 1 {
		t.Errorf("%d requests, %v; want one that is refused", requests, err)
	}
}
