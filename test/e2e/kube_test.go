//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/image"
)

// mirror holds pods, nodes and service accounts as watches report them.
type mirror struct {
	pods, nodes, accounts cache.Store
	stop                  func()

	mu      sync.Mutex
	changed chan struct{}
}

func newMirror(ctx context.Context, client kubernetes.Interface) (*mirror, error) {
	m := &mirror{changed: make(chan struct{})}
	factory := informers.NewSharedInformerFactory(client, 0)
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { m.poke() }, DeleteFunc: func(any) { m.poke() },
		UpdateFunc: func(any, any) { m.poke() },
	}
	core := factory.Core().V1()
	for _, in := range []cache.SharedIndexInformer{core.Pods().Informer(), core.Nodes().Informer(), core.ServiceAccounts().Informer()} {
		if _, err := in.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	m.pods, m.nodes, m.accounts = core.Pods().Informer().GetStore(), core.Nodes().Informer().GetStore(), core.ServiceAccounts().Informer().GetStore()
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = func() { cancel(); factory.Shutdown() }
	factory.Start(life.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			m.stop()
			return nil, fmt.Errorf("list %v: %w", kind, context.Cause(ctx))
		}
	}
	return m, nil
}

func (m *mirror) poke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *mirror) pod(namespace, name string) *corev1.Pod {
	obj, ok, _ := m.pods.GetByKey(namespace + "/" + name)
	if !ok {
		return nil
	}
	return obj.(*corev1.Pod)
}

func (m *mirror) node(name string) *corev1.Node {
	obj, ok, _ := m.nodes.GetByKey(name)
	if !ok {
		return nil
	}
	return obj.(*corev1.Node)
}

func (m *mirror) podsOf(namespace string) []*corev1.Pod {
	var out []*corev1.Pod
	for _, obj := range m.pods.List() {
		if p := obj.(*corev1.Pod); p.Namespace == namespace {
			out = append(out, p)
		}
	}
	return out
}

// await returns when missing says "", which is asked after each change that a watch reports.
func (m *mirror) await(ctx context.Context, missing func() string) error {
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		what := missing()
		if what == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// until waits for a state of Kubernetes objects; missing says what is wrong, or "".
func (e *env) until(missing func() string) time.Duration {
	e.Helper()
	return e.untilAll(func() (int, string) { return 1, missing() })
}

// errNoProgress ends a wait.
var errNoProgress = fmt.Errorf("no progress for %v", patience)

// untilAll is until for many objects: patience ends when it is that long since fewer were left than ever before.
func (e *env) untilAll(missing func() (left int, what string)) time.Duration {
	e.Helper()
	ctx, cancel := context.WithCancelCause(e.ctx)
	defer cancel(nil)
	limit := time.AfterFunc(patience, func() { cancel(errNoProgress) })
	defer limit.Stop()
	began, least := time.Now(), math.MaxInt
	e.must(e.seen.await(ctx, func() string {
		left, what := missing()
		if left < least {
			least = left
			limit.Reset(patience)
		}
		return what
	}))
	return time.Since(began)
}

// makeNamespace gives the scenario a namespace that is emptied and deleted at its end.
func (e *env) makeNamespace(name string) {
	e.Helper()
	e.ns = "e2e-" + name + "-" + rand.String(4)
	_, err := e.client.CoreV1().Namespaces().Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ns}}, metav1.CreateOptions{})
	e.must(err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), patience)
		defer cancel()
		if err := errors.Join(e.client.CoreV1().Namespaces().Delete(ctx, e.ns, metav1.DeleteOptions{}), e.empty(ctx)); err != nil {
			e.Errorf("delete namespace: %v", err)
			return
		}
		err := e.seen.await(ctx, func() string {
			if left := e.seen.podsOf(e.ns); len(left) > 0 {
				return fmt.Sprintf("%d pods of %s do not go away, one is %s", len(left), e.ns, describe(left[0]))
			}
			return ""
		})
		if err != nil {
			e.Error(err)
		}
	})
	e.until(func() string {
		if _, ok, _ := e.seen.accounts.GetByKey(e.ns + "/default"); !ok {
			return "no service account in " + e.ns
		}
		return ""
	})
}

// empty deletes at once what the scenario's namespace has; the namespace's own controller begins after five seconds.
func (e *env) empty(ctx context.Context) error {
	var o metav1.DeleteOptions
	var all metav1.ListOptions
	return errors.Join(
		e.client.AppsV1().StatefulSets(e.ns).DeleteCollection(ctx, o, all),
		e.client.BatchV1().Jobs(e.ns).DeleteCollection(ctx, o, all),
		e.client.CoreV1().RESTClient().Delete().Namespace(e.ns).Resource("services").Do(ctx).Error(),
		e.client.CoreV1().Pods(e.ns).DeleteCollection(ctx, o, all),
		e.client.NetworkingV1().NetworkPolicies(e.ns).DeleteCollection(ctx, o, all),
	)
}

// Ports of the test program in pods. Pods in a node's own network use others, so that two of them
// fit on a node beside whatever listens there.
const (
	httpPort     = 8080
	udpPort      = 8081
	hostHTTPPort = 18080
	hostUDPPort  = 18081
)

// podOption changes a pod before it is created.
type podOption func(*corev1.Pod)

// onNode pins a pod, bypassing the scheduler.
func onNode(name string) podOption { return func(p *corev1.Pod) { p.Spec.NodeName = name } }

// hostNetwork puts a pod into its node's network.
func hostNetwork(p *corev1.Pod) {
	p.Spec.HostNetwork = true
	c := &p.Spec.Containers[0]
	c.Env = []corev1.EnvVar{{Name: "HOST_IPS", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.hostIPs"}}}}
	// A datagram socket bound to all addresses answers with that of the device towards the client.
	c.Args = append(netexecArgs(hostHTTPPort, hostUDPPort), "--udp-listen-addresses=$(HOST_IPS)")
}

// pausing makes a pod do nothing, cheaply.
func pausing(p *corev1.Pod) {
	p.Spec.Containers[0] = corev1.Container{Name: "main", Image: image.Pause, ImagePullPolicy: corev1.PullNever}
}

func netexecArgs(http, udp int) []string {
	return []string{"netexec", fmt.Sprintf("--http-port=%d", http), fmt.Sprintf("--udp-port=%d", udp)}
}

// newPod describes a pod that runs the upstream test program's HTTP and UDP servers.
func newPod(namespace, name string, opts ...podOption) *corev1.Pod {
	// With 0 a deletion would be a forced one: the object goes while the pod still runs.
	grace, no := int64(1), false
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			Containers: []corev1.Container{{
				Name: "main", Image: image.Agnhost, ImagePullPolicy: corev1.PullNever,
				Args: netexecArgs(httpPort, udpPort),
			}},
		},
	}
	for _, o := range opts {
		o(p)
	}
	return p
}

// create creates pods without waiting for them.
func (e *env) create(pods ...*corev1.Pod) {
	e.Helper()
	for _, p := range pods {
		_, err := e.client.CoreV1().Pods(p.Namespace).Create(e.ctx, p, metav1.CreateOptions{})
		e.must(err)
	}
}

// start creates a pod, waits until it is ready and returns its network.
func (e *env) start(name string, opts ...podOption) traffic.Place {
	e.Helper()
	return e.startAll(newPod(e.ns, name, opts...))[0]
}

// startAll creates pods, waits until all are ready and returns their networks.
func (e *env) startAll(pods ...*corev1.Pod) []traffic.Place {
	e.Helper()
	e.create(pods...)
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	e.ready(names...)
	return e.places(names...)
}

// ready waits until the named pods of the scenario's namespace are ready.
func (e *env) ready(names ...string) time.Duration {
	e.Helper()
	return e.untilAll(func() (int, string) {
		bad := e.unready(names)
		return len(bad), ofMany(bad, names)
	})
}

func (e *env) notReady(names []string) string { return ofMany(e.unready(names), names) }

// unready describes those that are not ready.
func (e *env) unready(names []string) (bad []string) {
	for _, n := range names {
		if p := e.seen.pod(e.ns, n); p == nil || !isReady(p) {
			bad = append(bad, describeNamed(p, n))
		}
	}
	return bad
}

func ofMany(bad, names []string) string {
	if len(bad) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d pods not ready: %s", len(bad), len(names), strings.Join(bad[:min(3, len(bad))], "; "))
}

func isReady(p *corev1.Pod) bool {
	if p.Status.Phase != corev1.PodRunning || len(p.Status.PodIPs) == 0 || p.DeletionTimestamp != nil {
		return false
	}
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func describeNamed(p *corev1.Pod, name string) string {
	if p == nil {
		return name + " does not exist"
	}
	return describe(p)
}

func describe(p *corev1.Pod) string {
	s := fmt.Sprintf("%s on %s is %s", p.Name, p.Spec.NodeName, p.Status.Phase)
	if p.DeletionTimestamp != nil {
		s += ", being deleted"
	}
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			s += fmt.Sprintf(", waiting: %s %s", c.State.Waiting.Reason, c.State.Waiting.Message)
		case c.State.Terminated != nil:
			s += fmt.Sprintf(", ended: %s %s", c.State.Terminated.Reason, c.State.Terminated.Message)
		}
	}
	return s
}

// delete deletes pods of the scenario's namespace and waits until they are gone.
func (e *env) delete(names ...string) {
	e.Helper()
	for _, n := range names {
		e.must(e.client.CoreV1().Pods(e.ns).Delete(e.ctx, n, metav1.DeleteOptions{}))
	}
	e.gone(names...)
}

// gone waits until pods of the scenario's namespace do not exist.
func (e *env) gone(names ...string) {
	e.Helper()
	e.untilAll(func() (left int, what string) {
		for _, n := range names {
			if p := e.seen.pod(e.ns, n); p != nil {
				left++
				what = "still there: " + describe(p)
			}
		}
		return left, what
	})
}

// places returns the networks of pods of the scenario's namespace.
func (e *env) places(names ...string) []traffic.Place {
	e.Helper()
	var pods []*corev1.Pod
	for _, n := range names {
		p := e.seen.pod(e.ns, n)
		if p == nil {
			e.Fatalf("pod %s/%s does not exist", e.ns, n)
		}
		pods = append(pods, p)
	}
	return e.placesOf(pods...)
}

// placesOf returns the networks of pods.
func (e *env) placesOf(pods ...*corev1.Pod) []traffic.Place {
	e.Helper()
	out, err := places.Pods(e.Lab, pods...)
	e.must(err)
	return out
}

// events returns the messages of a pod's Events.
func (e *env) events(name string) []string {
	e.Helper()
	list, err := e.client.CoreV1().Events(e.ns).List(e.ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.name", name).String()})
	e.must(err)
	var out []string
	for _, ev := range list.Items {
		out = append(out, ev.Reason+": "+ev.Message)
	}
	return out
}
