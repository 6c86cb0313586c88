//go:build integration

package nodetest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// services are the Services, EndpointSlices and ServiceCIDRs that an API knows.
type services struct{ services, slices, cidrs resource }

func (s *services) serve(mux *http.ServeMux) {
	s.services.begin("v1", "Service")
	s.slices.begin("discovery.k8s.io/v1", "EndpointSlice")
	s.cidrs.begin("networking.k8s.io/v1", "ServiceCIDR")
	mux.Handle("GET /apis/networking.k8s.io/v1/servicecidrs", &s.cidrs)
	mux.Handle("GET /api/v1/services", &s.services)
	mux.Handle("GET /apis/discovery.k8s.io/v1/endpointslices", &s.slices)
}

// AddService makes a Service.
func (a *API) AddService(service corev1.Service) { a.Put(&service) }

// Put adds or changes a Service, EndpointSlice or ServiceCIDR, which is the API's from then on.
func (a *API) Put(object metav1.Object) { a.services.of(object).put(object, false) }

// Delete removes it.
func (a *API) Delete(object metav1.Object) { a.services.of(object).put(object, true) }

// of finds the kind of an object, and writes it down in the object: watches need it there.
func (s *services) of(object metav1.Object) *resource {
	switch o := object.(type) {
	case *corev1.Service:
		o.APIVersion, o.Kind = s.services.apiVersion, s.services.kind
		return &s.services
	case *discoveryv1.EndpointSlice:
		o.APIVersion, o.Kind = s.slices.apiVersion, s.slices.kind
		return &s.slices
	case *networkingv1.ServiceCIDR:
		o.APIVersion, o.Kind = s.cidrs.apiVersion, s.cidrs.kind
		return &s.cidrs
	}
	panic("nodetest: an object of no kind that is served")
}

// resource is one kind of objects of an API server: list and watch.
type resource struct {
	apiVersion, kind string

	mu       sync.Mutex
	revision int
	objects  map[string]metav1.Object
	watchers map[chan []byte]struct{}
}

func (r *resource) begin(apiVersion, kind string) {
	r.apiVersion, r.kind, r.revision = apiVersion, kind, 1
	r.objects, r.watchers = map[string]metav1.Object{}, map[chan []byte]struct{}{}
}

func (r *resource) put(object metav1.Object, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision++
	object.SetResourceVersion(strconv.Itoa(r.revision))
	key, what := object.GetNamespace()+"/"+object.GetName(), watch.Modified
	switch _, known := r.objects[key]; {
	case gone:
		what = watch.Deleted
		delete(r.objects, key)
	case !known:
		what = watch.Added
		fallthrough
	default:
		r.objects[key] = object
	}
	for w := range r.watchers {
		w <- event(what, object)
	}
}

func event(what watch.EventType, object metav1.Object) []byte {
	out, _ := json.Marshal(map[string]any{"type": what, "object": object})
	return out
}

// ServeHTTP lists, or watches from the moment of the list on.
func (r *resource) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if wantsWatch(w, request) {
		if request.URL.Query().Get("sendInitialEvents") == "" {
			r.watch(w, request)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	items := []metav1.Object{}
	for _, object := range r.objects {
		items = append(items, object)
	}
	reply(w, map[string]any{
		"apiVersion": r.apiVersion, "kind": r.kind + "List", "items": items,
		"metadata": map[string]string{"resourceVersion": strconv.Itoa(r.revision)},
	})
}

func (r *resource) watch(w http.ResponseWriter, request *http.Request) {
	changes := make(chan []byte, 100)
	from, _ := strconv.Atoi(request.URL.Query().Get("resourceVersion"))
	r.mu.Lock()
	r.watchers[changes] = struct{}{}
	for _, object := range r.objects {
		if at, _ := strconv.Atoi(object.GetResourceVersion()); at > from {
			changes <- event(watch.Modified, object)
		}
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, changes)
	}()
	begin(w)
	for {
		select {
		case <-request.Context().Done():
			return
		case c := <-changes:
			_, _ = w.Write(append(c, '\n'))
			w.(http.Flusher).Flush()
		}
	}
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
