package kube

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
	if limit := clients.Coordination.RESTClient().(*rest.RESTClient).Client.Timeout; limit <= 0 || limit > time.Second {
		t.Errorf("a request for a Lease may take %s; a leader is suspended after 2.25 s", limit)
	}
}
