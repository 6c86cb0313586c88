package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	fcache "k8s.io/client-go/tools/cache/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func testPod(name, node, network string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "uid-" + "x"}}
	p.Labels = map[string]string{"app": "web"}
	p.Finalizers = []string{"not kept"}
	p.Spec.NodeName = node
	if network != "" {
		p.Annotations = map[string]string{names.PodNetworksAnnotation: network, "other": "not kept"}
	}
	return p
}

// changes collects what a mirror's handlers are told.
type changes struct {
	mu   sync.Mutex
	seen []string
	more chan struct{}
}

func (c *changes) handler(key string, before, after *Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := "changed "
	switch {
	case before == nil:
		what = "added "
	case after == nil:
		what = "gone "
	}
	c.seen = append(c.seen, what+key)
	c.more <- struct{}{}
}

func (c *changes) wait(t *testing.T, want ...string) {
	t.Helper()
	for range want {
		select {
		case <-c.more:
		case <-time.After(10 * time.Second):
			t.Fatalf("still waiting for %v, saw %v", want, c.seen)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if diff := cmp.Diff(want, c.seen); diff != "" {
		t.Fatalf("changes (-want +got):\n%s", diff)
	}
	c.seen = nil
}

func TestMirrorTellsWhatChanged(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	source := fcache.NewFakeControllerSource()
	source.Add(testPod("a", "n1", ""))
	m, got := NewPodMirror(), &changes{more: make(chan struct{}, 100)}
	m.OnChange(got.handler)
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx, source) }()
	<-m.Synced()
	got.wait(t, "added ns/a")

	source.Add(testPod("b", "n1", ""))
	got.wait(t, "added ns/b")
	uninteresting := testPod("b", "n1", "")
	uninteresting.Finalizers = append(uninteresting.Finalizers, "another")
	source.Modify(uninteresting)
	source.Modify(testPod("b", "n1", "net"))
	got.wait(t, "changed ns/b")
	if b, ok := m.Get("ns/b"); !ok || b.Network != "net" {
		t.Errorf("Get = %+v %v, want the new annotation", b, ok)
	}
	source.Delete(testPod("a", "n1", ""))
	got.wait(t, "gone ns/a")

	// Changes that were missed while the watch was down are found in the next list.
	source.DeleteDropWatch(testPod("b", "n1", "net"))
	source.AddDropWatch(testPod("c", "n2", ""))
	source.ResetWatch()
	got.wait(t, "added ns/c", "gone ns/b")
	cancel()
	<-done
}

func TestTrimmedListKeepsWhatIsRead(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u", Annotations: map[string]string{
		names.NodeSubnetsAnnotation: "s", "unrelated": "x"}}}
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeInternalIP, Address: "172.18.0.11"},
		{Type: corev1.NodeInternalIP, Address: "fd00::11"}, {Type: corev1.NodeExternalIP, Address: "1.2.3.4"}}
	if a, b := NewNode(node), NewNode(trimNode(node)); !a.Equal(b) || len(a.Addresses) != 2 || len(a.Annotations) != 1 {
		t.Errorf("trimmed node reads %+v, the whole one %+v", b, a)
	}
	pod := testPod("a", "n1", "net")
	pod.Spec.HostNetwork, pod.Status.Phase = true, corev1.PodFailed
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}}
	if a, b := NewPod(pod), NewPod(trimPod(pod)); !a.Equal(b) || !a.HostNetwork || !a.Finished || a.Network != "net" || a.Labels["app"] != "web" || len(a.Ports) != 1 {
		t.Errorf("trimmed pod reads %+v, the whole one %+v", b, a)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", UID: "u", Labels: map[string]string{"team": "a"},
		Annotations: map[string]string{names.ACLLoggingAnnotation: "{}", "unrelated": "x"}}}
	if a, b := NewNamespace(ns), NewNamespace(trimNamespace(ns)); !a.Equal(b) || b.ACLLogging != "{}" || b.Labels["team"] != "a" {
		t.Errorf("trimmed namespace reads %+v, the whole one %+v", b, a)
	}
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}
	policy.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	if a, b := NewNetworkPolicy(policy), NewNetworkPolicy(trimNetworkPolicy(policy)); !a.Equal(b) || len(b.Spec.PolicyTypes) != 1 {
		t.Errorf("trimmed policy reads %+v, the whole one %+v", b, a)
	}
}

// A port's name means the first port that has it, with each protocol. Init containers count while they run on.
func TestContainerPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	port := func(name string, number int32, protocol corev1.Protocol) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, ContainerPort: number, Protocol: protocol}
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Ports: []corev1.ContainerPort{port("init", 1, "")}},
			{Ports: []corev1.ContainerPort{port("http", 2, ""), port("proxy", 15001, "")}, RestartPolicy: &always},
		},
		Containers: []corev1.Container{
			{Ports: []corev1.ContainerPort{port("http", 80, "TCP"), port("", 81, "TCP"), port("dns", 53, "UDP"), port("dns", 5353, "TCP")}},
			{Ports: []corev1.ContainerPort{port("http", 8080, "TCP")}},
		},
	}}
	want := []ContainerPort{{"http", "TCP", 80}, {"dns", "UDP", 53}, {"dns", "TCP", 5353}, {"proxy", "TCP", 15001}}
	if diff := cmp.Diff(want, NewPod(trimPod(pod)).Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestWorkerRetriesAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts, done := map[string]int{}, make(chan string, 10)
	w := NewWorker("test", NewQueueMetrics("test", nil), func(_ context.Context, key string) error {
		attempts[key]++
		if key == "bad" && attempts[key] < 4 {
			return errors.New("not yet")
		}
		done <- key
		return nil
	})
	w.Add("bad")
	w.Add("good")
	w.Add("good")
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.Run(ctx, 1) }()
	if first, second := <-done, <-done; first != "good" || second != "bad" {
		t.Errorf("done in order %s, %s: a failing key must not hold up another", first, second)
	}
	cancel()
	<-stopped
	if diff := cmp.Diff(map[string]int{"bad": 4, "good": 1}, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestPatchCarriesUIDAndIgnoresTheAnswer(t *testing.T) {
	var got struct {
		path, contentType, accept string
		body                      map[string]any
	}
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.path, got.contentType, got.accept = r.Method+" "+r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Accept")
		data, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(data, &got.body)
		w.WriteHeader(status)
		if status == http.StatusOK {
			_, _ = io.WriteString(w, "this is not an object")
			return
		}
		_ = json.NewEncoder(w).Encode(metav1.Status{Status: "Failure", Code: int32(status), Reason: metav1.StatusReasonConflict})
	}))
	defer server.Close()
	clients, err := NewClients(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	p, ref := NewPatcher(clients.Core), Ref{Kind: "Pod", Namespace: "ns", Name: "a", UID: "u1"}
	if err := p.PatchPod(t.Context(), ref, map[string]string{"k": "v"}); err != nil {
		t.Fatalf("the answer's body must not matter: %v", err)
	}
	want := map[string]any{"metadata": map[string]any{"uid": "u1", "annotations": map[string]any{"k": "v"}}}
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got.path != "PATCH /api/v1/namespaces/ns/pods/a/status" || got.contentType != "application/strategic-merge-patch+json" ||
		!strings.Contains(got.accept, "PartialObjectMetadata") {
		t.Errorf("request %+v", got)
	}
	status = http.StatusConflict
	if err := p.PatchNode(t.Context(), Ref{Kind: "Node", Name: "n"}, nil); !apierrors.IsConflict(err) {
		t.Errorf("err = %v, want one that IsConflict", err)
	}
	if got.path != "PATCH /api/v1/nodes/n/status" {
		t.Errorf("node patch went to %s", got.path)
	}
}

func TestRESTConfigHasNoClientSideThrottle(t *testing.T) {
	cfg, err := RESTConfig("", "https://192.0.2.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.QPS >= 0 || !strings.Contains(cfg.ContentType, "protobuf") {
		t.Errorf("QPS %v content type %s, want no throttle and protobuf", cfg.QPS, cfg.ContentType)
	}
}
