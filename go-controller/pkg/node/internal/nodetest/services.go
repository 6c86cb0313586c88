//go:build integration

package nodetest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// services are the Services that an API knows. There are no EndpointSlices.
type services struct {
	mu       sync.Mutex
	all      []corev1.Service
	revision int
	watchers map[chan corev1.Service]struct{}
}

func (s *services) serve(mux *http.ServeMux) {
	s.watchers, s.revision = map[chan corev1.Service]struct{}{}, 1
	mux.HandleFunc("GET /api/v1/services", s.list)
	mux.HandleFunc("GET /apis/discovery.k8s.io/v1/endpointslices", func(w http.ResponseWriter, r *http.Request) {
		if !wantsWatch(w, r) {
			reply(w, discoveryv1.EndpointSliceList{
				TypeMeta: metav1.TypeMeta{Kind: "EndpointSliceList", APIVersion: "discovery.k8s.io/v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			})
		} else if r.URL.Query().Get("sendInitialEvents") == "" {
			begin(w)
			<-r.Context().Done()
		}
	})
}

// wantsWatch refuses watches that are to begin with a list.
func wantsWatch(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Query().Get("watch") == "" {
		return false
	}
	if r.URL.Query().Get("sendInitialEvents") != "" {
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
	}
	return true
}

func begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
}

// AddService makes a Service.
func (a *API) AddService(service corev1.Service) {
	s := &a.services
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	service.ResourceVersion = strconv.Itoa(s.revision)
	s.all = append(s.all, service)
	for w := range s.watchers {
		w <- service
	}
}

func (s *services) list(w http.ResponseWriter, r *http.Request) {
	if wantsWatch(w, r) {
		if r.URL.Query().Get("sendInitialEvents") == "" {
			s.watch(w, r)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply(w, corev1.ServiceList{
		TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.revision)}, Items: s.all,
	})
}

func (s *services) watch(w http.ResponseWriter, r *http.Request) {
	changes := make(chan corev1.Service, 100)
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	s.mu.Lock()
	s.watchers[changes] = struct{}{}
	for _, service := range s.all {
		if at, _ := strconv.Atoi(service.ResourceVersion); at > from {
			changes <- service
		}
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, changes)
	}()
	begin(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case service := <-changes:
			service.TypeMeta = metav1.TypeMeta{Kind: "Service", APIVersion: "v1"}
			raw, _ := json.Marshal(service)
			_ = json.NewEncoder(w).Encode(map[string]any{"type": watch.Added, "object": json.RawMessage(raw)})
			w.(http.Flusher).Flush()
		}
	}
}
