// Package healthcheck answers load balancers that ask, on a service's health check node port, whether this node has endpoints
// of the service (externalTrafficPolicy Local).
package healthcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

const (
	// requestTimeout bounds what a client may take.
	requestTimeout = 5 * time.Second
	// reason is that of the Events on services whose port cannot be used.
	reason = "FailedToStartServiceHealthcheck"
)

// Options are what a Server works from.
type Options struct {
	Services *kube.Mirror[*kube.Service]
	Slices   *kube.Mirror[*kube.EndpointSlice]
	// Index finds the slices of a service. It follows Slices.
	Index *kube.ServiceSlices
	// Node is the name of this node in Kubernetes.
	Node string
	// Events take what keeps a service from being served.
	Events kube.Recorder
	// Healthy tells whether the node can serve services at all. Nil means that it can.
	Healthy func() bool
	// Listen opens a port of all the host's addresses; nil means the kernel's.
	Listen func(ctx context.Context, port uint16) (net.Listener, error)
}

// Server keeps a port open for each service that has a health check node port.
type Server struct {
	o    Options
	loop *reconcile.Loop

	// open and reported are used by the loop alone: the open ports, and the last failure of a service.
	open     map[uint16]*port
	reported map[string]string
}

// port is an open port.
type port struct {
	service string
	server  *http.Server
}

// New makes a server that follows the mirrors; call it before they run.
func New(o Options) *Server {
	if o.Listen == nil {
		o.Listen = func(ctx context.Context, port uint16) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf(":%d", port))
		}
	}
	s := &Server{o: o, open: map[uint16]*port{}, reported: map[string]string{}}
	s.loop = reconcile.New("health checks of services", s.reconcile, nil)
	o.Services.OnChange(func(_ string, before, after *kube.Service) {
		if needs(before) || needs(after) {
			s.loop.Wake()
		}
	})
	return s
}

// Loop tells how the work is going.
func (s *Server) Loop() *reconcile.Loop { return s.loop }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-s.o.Services.Synced():
			s.loop.Wake()
		case <-ctx.Done():
		}
	})
	s.loop.Run(ctx)
	wg.Wait()
	for number := range s.open {
		s.close(number)
	}
}

func needs(s *kube.Service) bool { return s != nil && s.ExternalLocal && s.HealthCheckNodePort != 0 }

// reconcile opens and closes ports. One that cannot be opened is tried again, and does not hold up the others.
func (s *Server) reconcile(ctx context.Context) error {
	want := s.wanted()
	for number, p := range s.open {
		if want[number] == nil || want[number].Key() != p.service {
			s.close(number)
		}
	}
	maps.DeleteFunc(s.reported, func(key, _ string) bool { _, ok := s.o.Services.Get(key); return !ok })
	var all []error
	for number, service := range want {
		if s.open[number] != nil {
			continue
		}
		err := s.listen(ctx, number, service.Key())
		s.report(service, err)
		all = append(all, err)
	}
	return errors.Join(all...)
}

// wanted are the services by their ports; the first by name where the API server has let two have one.
func (s *Server) wanted() map[uint16]*kube.Service {
	out := map[uint16]*kube.Service{}
	for _, service := range s.o.Services.All() {
		if !needs(service) {
			continue
		}
		if other := out[service.HealthCheckNodePort]; other == nil || service.Key() < other.Key() {
			out[service.HealthCheckNodePort] = service
		}
	}
	return out
}

func (s *Server) report(service *kube.Service, err error) {
	if err == nil {
		delete(s.reported, service.Key())
		return
	}
	if message := err.Error(); s.reported[service.Key()] != message {
		s.reported[service.Key()] = message
		s.o.Events.Warn(service.Ref(), reason, fmt.Sprintf("node %s: %s; load balancers send nothing here", s.o.Node, message))
	}
}

func (s *Server) listen(ctx context.Context, number uint16, service string) error {
	listener, err := s.o.Listen(ctx, number)
	if err != nil {
		return fmt.Errorf("health check node port %d of service %s: %w", number, service, err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.answer(w, service) }),
		ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
	}
	s.open[number] = &port{service, server}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			klog.ErrorS(err, "Health checks are not answered any more", "service", service, "port", number)
		}
	}()
	klog.InfoS("Answering health checks", "service", service, "port", number)
	return nil
}

func (s *Server) close(number uint16) {
	p := s.open[number]
	delete(s.open, number)
	if err := p.server.Close(); err != nil {
		klog.ErrorS(err, "Cannot close", "port", number)
	}
	klog.InfoS("No more health checks", "service", p.service, "port", number)
}

// response is what kube-proxy documents and load balancers' controllers read.
type response struct {
	Service             name `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

type name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (s *Server) answer(w http.ResponseWriter, key string) {
	out := response{ServiceProxyHealthy: s.o.Healthy == nil || s.o.Healthy()}
	out.Service.Namespace, out.Service.Name, _ = strings.Cut(key, "/")
	if service, ok := s.o.Services.Get(key); ok {
		out.LocalEndpoints = localEndpoints(service, s.o.Index.Of(key), s.o.Node)
	}
	body, err := json.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(out.LocalEndpoints))
	if out.LocalEndpoints == 0 || !out.ServiceProxyHealthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(body) // the client may be gone
}

// localEndpoints counts the ready endpoints on a node, in the service's first family: a pod has an address in each. Those that
// terminate do not count, so that load balancers turn away while they still serve.
func localEndpoints(s *kube.Service, in []*kube.EndpointSlice, node string) int {
	if len(s.ClusterIPs) == 0 {
		return 0
	}
	var found []netip.Addr
	for _, slice := range in {
		for _, e := range slice.Endpoints {
			if e.On(node, s.ClusterIPs[0].Is4()) && e.Ready && !slices.Contains(found, e.Address) {
				found = append(found, e.Address)
			}
		}
	}
	return len(found)
}
