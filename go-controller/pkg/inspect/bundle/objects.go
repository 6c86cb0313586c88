package bundle

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// most is how many objects of a kind are asked for: of a cluster with more the rest is left out.
const most = 20000

// mostEvents is how many Events are kept, the latest.
const mostEvents = 3000

// lister lists objects of a kind.
type lister func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error)

// of makes a lister of a client's own method.
func of[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) lister {
	return func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) }
}

// objects are the sources of what the API server has. No Secrets are asked for.
func (o *Options) objects() []source {
	all, core := metav1.NamespaceAll, o.Client.CoreV1()
	kinds := map[string]lister{
		"nodes":                        of(core.Nodes().List),
		"namespaces":                   of(core.Namespaces().List),
		"pods":                         of(core.Pods(all).List),
		"services":                     of(core.Services(all).List),
		"endpointslices":               of(o.Client.DiscoveryV1().EndpointSlices(all).List),
		"networkpolicies":              of(o.Client.NetworkingV1().NetworkPolicies(all).List),
		"servicecidrs":                 of(o.Client.NetworkingV1().ServiceCIDRs().List),
		"events":                       of(core.Events(all).List),
		"network/configmaps":           of(core.ConfigMaps(o.Namespace).List),
		"network/daemonsets":           of(o.Client.AppsV1().DaemonSets(o.Namespace).List),
		"network/deployments":          of(o.Client.AppsV1().Deployments(o.Namespace).List),
		"network/statefulsets":         of(o.Client.AppsV1().StatefulSets(o.Namespace).List),
		"network/poddisruptionbudgets": of(o.Client.PolicyV1().PodDisruptionBudgets(o.Namespace).List),
		"network/leases":               of(o.Client.CoordinationV1().Leases(o.Namespace).List),
		"leases":                       of(o.Client.CoordinationV1().Leases(names.MasterLeaseNamespace).List),
	}
	var out []source
	for name, list := range kinds {
		out = append(out, source{name: "objects/" + name + ".json", from: "list " + name, limit: databaseSize, write: func(ctx context.Context, to io.Writer) error {
			return o.list(ctx, list, to)
		}})
	}
	return out
}

// list writes the objects of a kind, reduced, as JSON.
func (o *Options) list(ctx context.Context, list lister, to io.Writer) error {
	objects, err := list(ctx, metav1.ListOptions{Limit: most})
	if err != nil {
		return err
	}
	items, err := meta.ExtractList(objects)
	if err != nil {
		return err
	}
	items = latest(items)
	scrub := newScrubber()
	out := make([]any, 0, len(items))
	for _, item := range items {
		o.reduce(item)
		text, err := json.Marshal(item)
		if err != nil {
			return err
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			return err
		}
		out = append(out, scrub.values(v))
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{"items": out}); err != nil {
		return err
	}
	if m, err := meta.ListAccessor(objects); err == nil && m.GetContinue() != "" {
		return fmt.Errorf("there are more than %d", most)
	}
	return nil
}

// latest keeps the latest of many Events, and all of other things.
func latest(items []runtime.Object) []runtime.Object {
	if len(items) <= mostEvents {
		return items
	}
	if _, ok := items[0].(*corev1.Event); !ok {
		return items
	}
	seen := func(o runtime.Object) time.Time {
		e := o.(*corev1.Event)
		return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time)
	}
	slices.SortFunc(items, func(a, b runtime.Object) int { return seen(b).Compare(seen(a)) })
	return items[:mostEvents]
}

// reduce takes from an object what is nothing to the network: who has written which field, others' annotations, and of others' pods what runs in them.
func (o *Options) reduce(object runtime.Object) {
	if m, err := meta.Accessor(object); err == nil {
		m.SetManagedFields(nil)
		kept := m.GetAnnotations()
		annotations(kept)
		m.SetAnnotations(kept)
	}
	p, ok := object.(*corev1.Pod)
	if !ok || p.Namespace == o.Namespace {
		return
	}
	spec := corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork, DNSPolicy: p.Spec.DNSPolicy, RestartPolicy: p.Spec.RestartPolicy}
	for _, c := range p.Spec.Containers {
		spec.Containers = append(spec.Containers, corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, ReadinessProbe: c.ReadinessProbe})
	}
	p.Spec = spec
}

// pods are the sources in the network's pods: logs, also of the run before, and metrics.
func (o *Options) pods(ctx context.Context) ([]source, error) {
	list, err := o.Client.CoreV1().Pods(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods of namespace %s: %w", o.Namespace, err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("there are no pods in namespace %s: logs and metrics are where the components run", o.Namespace)
	}
	var out []source
	for i := range list.Items {
		p := &list.Items[i]
		dir := "pods/" + p.Name + "/"
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			out = append(out, o.log(p, dir+s.Name+".log", s.Name, false))
			if s.RestartCount > 0 {
				out = append(out, o.log(p, dir+s.Name+".previous.log", s.Name, true))
			}
		}
		for _, c := range p.Spec.Containers {
			for _, port := range c.Ports {
				if slices.Contains([]string{names.MetricsPort, names.NorthboundMetricsPort, names.SouthboundMetricsPort}, port.Name) {
					out = append(out, o.metrics(p, dir+port.Name+".txt", port.ContainerPort))
				}
			}
		}
	}
	return out, nil
}

func (o *Options) log(p *corev1.Pod, name, container string, previous bool) source {
	const lines = 40000 // The latest; the limit in bytes would keep the oldest of them.
	return source{name: name, from: "log of " + p.Name + ", container " + container, limit: 4 * logSize, write: func(ctx context.Context, to io.Writer) error {
		stream, err := o.Client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{
			Container: container, Previous: previous, TailLines: ptr.To[int64](lines), Timestamps: true}).Stream(ctx)
		if err != nil {
			return err
		}
		defer stream.Close()
		_, err = io.Copy(to, stream)
		return err
	}}
}

func (o *Options) metrics(p *corev1.Pod, name string, port int32) source {
	return source{name: name, from: fmt.Sprintf("metrics of %s:%d", p.Name, port), write: func(ctx context.Context, to io.Writer) error {
		text, err := o.Client.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, fmt.Sprint(port), "metrics", nil).DoRaw(ctx)
		if err != nil {
			return err
		}
		_, err = to.Write(text)
		return err
	}}
}

// sources are all files, and those of which it is known already that they cannot be made.
func (o *Options) sources(ctx context.Context) (all []source, missing []File) {
	all = append(o.objects(), o.databases()...)
	all = append(all, source{name: "status.txt", from: "kubectl ovn status --verbose --passive", write: o.Status})
	pods, err := o.pods(ctx)
	if err != nil {
		missing = append(missing, File{Name: "pods/", From: "logs and metrics", Missing: err.Error()})
	}
	all = append(all, pods...)
	nodes := o.Nodes
	if len(nodes) == 0 {
		list, err := o.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			missing = append(missing, File{Name: "nodes/", From: "list nodes", Missing: err.Error()})
		} else {
			for i := range list.Items {
				nodes = append(nodes, list.Items[i].Name)
			}
		}
	}
	for _, n := range nodes {
		all = append(all, o.onNode(n)...)
	}
	return all, missing
}
