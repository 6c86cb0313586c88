//go:build integration

package nodetest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// API is an API server that knows one Node: list, watch and merge patches of metadata; and takes Events.
type API struct {
	server   *httptest.Server
	services services

	mu       sync.Mutex
	node     corev1.Node
	revision int
	watchers map[chan corev1.Node]struct{}
	events   []string
	patches  int
}

// StartAPI starts an API server with a Node of that name.
func StartAPI(t *testing.T, node string) *API {
	t.Helper()
	a := &API{watchers: map[chan corev1.Node]struct{}{}, revision: 1}
	a.node.Name, a.node.UID, a.node.ResourceVersion = node, "node-uid", "1"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/nodes", a.list)
	mux.HandleFunc("PATCH /api/v1/nodes/{name}/status", a.patch)
	mux.HandleFunc("POST /api/v1/namespaces/{ns}/events", a.event)
	a.services.serve(mux)
	a.server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// Close ends the server: nobody can reach it any more.
func (a *API) Close() {
	a.server.CloseClientConnections()
	a.server.Close()
}

// Config is how to reach the server.
func (a *API) Config() *rest.Config { return &rest.Config{Host: a.server.URL, QPS: -1} }

// Annotate sets an annotation of the node.
func (a *API) Annotate(key, value string) {
	a.change(map[string]string{key: value})
}

// Annotations returns those of the node.
func (a *API) Annotations() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node.DeepCopy().Annotations
}

// Patches counts the patches.
func (a *API) Patches() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.patches
}

// Events returns the messages of Events.
func (a *API) Events() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.events...)
}

func (a *API) change(annotations map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node.Annotations == nil {
		a.node.Annotations = map[string]string{}
	}
	for k, v := range annotations {
		a.node.Annotations[k] = v
	}
	a.revision++
	a.node.ResourceVersion = strconv.Itoa(a.revision)
	for w := range a.watchers {
		w <- *a.node.DeepCopy()
	}
}

func (a *API) list(w http.ResponseWriter, r *http.Request) {
	if wantsWatch(w, r) {
		if r.URL.Query().Get("sendInitialEvents") == "" {
			a.watch(w, r)
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	list := corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, Items: []corev1.Node{a.node}}
	list.ResourceVersion = strconv.Itoa(a.revision)
	reply(w, list)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (a *API) watch(w http.ResponseWriter, r *http.Request) {
	changes := make(chan corev1.Node, 100)
	a.mu.Lock()
	a.watchers[changes] = struct{}{}
	if from := r.URL.Query().Get("resourceVersion"); from != a.node.ResourceVersion {
		changes <- *a.node.DeepCopy()
	}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, changes)
	}()
	w.Header().Set("Content-Type", "application/json")
	flusher := w.(http.Flusher)
	flusher.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case node := <-changes:
			node.TypeMeta = metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}
			raw, _ := json.Marshal(node)
			_ = json.NewEncoder(w).Encode(map[string]any{"type": watch.Modified, "object": json.RawMessage(raw)})
			flusher.Flush()
		}
	}
}

func (a *API) patch(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.change(body.Metadata.Annotations)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.patches++
	reply(w, a.node)
}

func (a *API) event(w http.ResponseWriter, r *http.Request) {
	var e corev1.Event
	_ = json.NewDecoder(r.Body).Decode(&e)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, strings.TrimSpace(e.Reason+": "+e.Message))
	w.WriteHeader(http.StatusCreated)
	reply(w, e)
}
