package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/manifests"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// Limits of waiting. They are far above what a busy machine needs: who waits
// this long wants to be told why.
const (
	waitLimit = 90 * time.Second
	// crashLimit is how often a component may end before waiting is given up.
	crashLimit = 4
	// waitInterval is the time between two looks.
	waitInterval = 50 * time.Millisecond
)

// until looks again and again, until look says that what is waited for is there.
// It gives up early when a component that must run keeps ending.
func (l *Lab) until(ctx context.Context, watched map[string][]string, look func(context.Context) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	missing := "nothing known yet"
	for {
		ok, why := look(ctx)
		if ok {
			return nil
		}
		if why != "" && ctx.Err() == nil {
			missing = why
		}
		if err := l.crashing(ctx, watched); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return l.blame(watched, fmt.Errorf("%w; last seen: %s", context.Cause(ctx), missing))
		case <-time.After(waitInterval):
		}
	}
}

// crashing returns an error for the first watched component that keeps ending.
func (l *Lab) crashing(ctx context.Context, watched map[string][]string) error {
	for name, comps := range watched {
		if _, err := l.PID(name); err != nil {
			return &StepError{LogFile: l.LogFile(name, "init"), Err: err}
		}
		list, err := l.init(name).Components(ctx)
		if err != nil {
			continue // its init lives and is busy with setting up
		}
		for _, st := range list {
			if st.Restarts < crashLimit {
				continue
			}
			for _, c := range comps {
				if c == st.Name {
					return l.componentError(name, c, fmt.Errorf("%s on %s keeps ending: %s", c, name, st.Detail))
				}
			}
		}
	}
	return nil
}

// blame adds the command and the log of the first watched component.
func (l *Lab) blame(watched map[string][]string, err error) error {
	for name, comps := range watched {
		if len(comps) > 0 {
			return l.componentError(name, comps[0], err)
		}
	}
	return err
}

func (l *Lab) componentError(name, component string, err error) error {
	se := &StepError{LogFile: l.LogFile(name, component), Err: err}
	if spec, rerr := machine.ReadSpec(l.cfg.MachineDir(name)); rerr == nil {
		for _, c := range spec.Components {
			if c.Name == component {
				se.Command = strings.Join(c.Argv, " ")
			}
		}
	}
	return se
}

func (l *Lab) waitAPI(ctx context.Context) error {
	client, err := l.Client()
	if err != nil {
		return err
	}
	return l.until(ctx, map[string][]string{plan.ControlPlane: {plan.APIServer, plan.Etcd}}, func(ctx context.Context) (bool, string) {
		b, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err != nil {
			return false, err.Error()
		}
		return string(b) == "ok", "/readyz says " + string(b)
	})
}

func (l *Lab) waitRegistered(ctx context.Context) error {
	return l.untilNodes(ctx, plan.Kubelet, func(nodes map[string]corev1.Node) string {
		var missing []string
		for _, n := range l.Nodes() {
			if _, ok := nodes[n]; !ok {
				missing = append(missing, n)
			}
		}
		if len(missing) > 0 {
			return "not registered: " + strings.Join(missing, ", ")
		}
		return ""
	})
}

func (l *Lab) waitNodesReady(ctx context.Context) error {
	return l.WaitNodesReady(ctx, l.Nodes()...)
}

// WaitNodesReady waits until the named nodes are Ready.
func (l *Lab) WaitNodesReady(ctx context.Context, names ...string) error {
	component := plan.Kubelet // of pods there is no log here
	if l.cfg.Install == plan.InstallProcess {
		component = plan.NodeAgent
	}
	return l.untilNodes(ctx, component, func(nodes map[string]corev1.Node) string {
		for _, name := range names {
			m := MachineStatus{Name: name}
			m.readiness([]corev1.Node{nodes[name]})
			if m.Ready != string(corev1.ConditionTrue) {
				return fmt.Sprintf("%s is not Ready: %s", name, m.Message)
			}
		}
		return ""
	})
}

// untilNodes waits until missing returns nothing for the nodes there are.
func (l *Lab) untilNodes(ctx context.Context, component string, missing func(map[string]corev1.Node) string) error {
	client, err := l.Client()
	if err != nil {
		return err
	}
	watched := map[string][]string{}
	for _, n := range l.Nodes() {
		if _, err := l.PID(n); err == nil {
			watched[n] = []string{component}
		}
	}
	return l.until(ctx, watched, func(ctx context.Context) (bool, string) {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return false, err.Error()
		}
		nodes := map[string]corev1.Node{}
		for _, n := range list.Items {
			nodes[n.Name] = n
		}
		why := missing(nodes)
		return why == "", why
	})
}

func (l *Lab) applyProduct(ctx context.Context) error {
	objs, err := manifests.Product()
	if err != nil {
		return err
	}
	return l.Apply(ctx, objs)
}

func (l *Lab) applyCoreDNS(ctx context.Context) error {
	objs, err := manifests.CoreDNS(&l.cfg)
	if err != nil {
		return err
	}
	return l.Apply(ctx, objs)
}

// Apply creates or changes objects, as "kubectl apply --server-side" does.
func (l *Lab) Apply(ctx context.Context, objs []*unstructured.Unstructured) error {
	cfg, err := l.RESTConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	for _, o := range objs {
		gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		var r dynamic.ResourceInterface = client.Resource(gvr)
		if ns := o.GetNamespace(); ns != "" {
			r = client.Resource(gvr).Namespace(ns)
		}
		if _, err := r.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "ovnlab", Force: true}); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func (l *Lab) waitCoreDNS(ctx context.Context) error {
	cfg, err := l.RESTConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	deployments := client.Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(metav1.NamespaceSystem)
	watched := map[string][]string{}
	for _, n := range l.Nodes() {
		watched[n] = []string{plan.Kubelet}
		if l.cfg.Install == plan.InstallProcess {
			watched[n] = []string{plan.NodeAgent, plan.Kubelet}
		}
	}
	return l.until(ctx, watched, func(ctx context.Context) (bool, string) {
		u, err := deployments.Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d); err != nil {
			return false, err.Error()
		}
		why := fmt.Sprintf("%d of %d replicas of CoreDNS are ready", d.Status.ReadyReplicas, d.Status.Replicas)
		return d.Spec.Replicas != nil && d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == *d.Spec.Replicas, why
	})
}
