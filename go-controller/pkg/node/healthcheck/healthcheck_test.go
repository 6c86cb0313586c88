package healthcheck

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	fcache "k8s.io/client-go/tools/cache/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) Warn(about kube.Ref, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, about.String()+" "+reason+" "+message)
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

type fixture struct {
	t        *testing.T
	services *kube.Mirror[*kube.Service]
	slices   *kube.Mirror[*kube.EndpointSlice]
	events   recorder
	healthy  atomic.Bool
	server   *Server
}

// begin runs a server. The services named are there before it begins.
func begin(t *testing.T) *fixture {
	f := &fixture{t: t, services: kube.NewServiceMirror(), slices: kube.NewEndpointSliceMirror()}
	f.healthy.Store(true)
	f.server = New(Options{
		Services: f.services, Slices: f.slices, Index: kube.NewServiceSlices(f.slices), Node: "node1", Events: &f.events,
		Healthy: f.healthy.Load,
		Listen: func(ctx context.Context, port uint16) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.services.Run(ctx, fcache.NewFakeControllerSource()) })
	wg.Go(func() { f.server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-f.services.Synced()
	return f
}

// freePort finds a port that nobody listens on.
func freePort(t *testing.T) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func (f *fixture) service(port uint16, edit func(*kube.Service)) {
	s := &kube.Service{
		Namespace: "ns", Name: "web", Type: corev1.ServiceTypeLoadBalancer, ExternalLocal: true, HealthCheckNodePort: port,
		ClusterIPs: []netip.Addr{netip.MustParseAddr("172.30.0.1"), netip.MustParseAddr("fd02::1")},
	}
	if edit != nil {
		edit(s)
	}
	f.services.Put(s)
}

func (f *fixture) endpoints(name string, in ...kube.Endpoint) {
	f.slices.Put(&kube.EndpointSlice{Namespace: "ns", Name: name, Service: "web", Endpoints: in})
}

// expect waits for an answer; code 0 means that the port is closed.
func (f *fixture) expect(port uint16, code int, body string) {
	f.t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := ""
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			if last = err.Error(); code == 0 {
				return
			}
			continue
		}
		data, _ := io.ReadAll(r.Body)
		r.Body.Close()
		last = fmt.Sprint(r.StatusCode, " ", string(data))
		if r.StatusCode == code && string(data) == body {
			if want := fmt.Sprint(strings.Contains(body, `"localEndpoints":0`)); want != fmt.Sprint(r.Header.Get("X-Load-Balancing-Endpoint-Weight") == "0") {
				f.t.Errorf("weight %s with %s", r.Header.Get("X-Load-Balancing-Endpoint-Weight"), body)
			}
			return
		}
	}
	f.t.Fatalf("want %d %s, have %s", code, body, last)
}

func body(local int, healthy bool) string {
	return fmt.Sprintf(`{"service":{"namespace":"ns","name":"web"},"localEndpoints":%d,"serviceProxyHealthy":%t}`, local, healthy)
}

func endpoint(address, node string, ready bool) kube.Endpoint {
	return kube.Endpoint{Address: netip.MustParseAddr(address), Node: node, Ready: ready, Serving: true, Terminating: !ready}
}

func TestAnswers(t *testing.T) {
	f := begin(t)
	port := freePort(t)
	f.service(port, nil)
	f.expect(port, 503, body(0, true))
	f.endpoints("web-2", endpoint("10.128.4.7", "node2", true))
	f.expect(port, 503, body(0, true))
	f.endpoints("web-1", endpoint("10.128.2.7", "node1", true), endpoint("10.128.2.8", "node1", true))
	f.endpoints("web-6", endpoint("fd01::7", "node1", true), endpoint("fd01::8", "node1", true))
	f.expect(port, 200, body(2, true))
	f.endpoints("web-1", endpoint("10.128.2.7", "node1", true), endpoint("10.128.2.8", "node1", false))
	f.expect(port, 200, body(1, true))
	f.healthy.Store(false)
	f.expect(port, 503, body(1, false))
	f.healthy.Store(true)
	f.slices.Remove("ns/web-1")
	f.expect(port, 503, body(0, true))
}

func TestFollowsTheService(t *testing.T) {
	f := begin(t)
	first, second := freePort(t), freePort(t)
	f.endpoints("web-1", endpoint("10.128.2.7", "node1", true))
	f.service(first, nil)
	f.expect(first, 200, body(1, true))
	f.service(second, nil)
	f.expect(second, 200, body(1, true))
	f.expect(first, 0, "")
	f.service(second, func(s *kube.Service) { s.ExternalLocal = false })
	f.expect(second, 0, "")
	f.service(second, nil)
	f.expect(second, 200, body(1, true))
	f.services.Remove("ns/web")
	f.expect(second, 0, "")
}

func TestPortInUse(t *testing.T) {
	f := begin(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, other := uint16(l.Addr().(*net.TCPAddr).Port), freePort(t)
	f.endpoints("web-1", endpoint("10.128.2.7", "node1", true))
	f.service(taken, nil)
	f.service(other, func(s *kube.Service) { s.Name = "other" })
	f.expect(other, 503, strings.Replace(body(0, true), `"web"`, `"other"`, 1)) // not held up
	events := f.events.all()
	if len(events) != 1 || !strings.Contains(events[0], "Service ns/web FailedToStartServiceHealthcheck node node1: ") ||
		!strings.Contains(events[0], "address already in use") {
		t.Errorf("events: %q", events)
	}
	l.Close()
	f.expect(taken, 200, body(1, true)) // without anybody's doing
	if n := len(f.events.all()); n != 1 {
		t.Errorf("%d events", n)
	}
}
