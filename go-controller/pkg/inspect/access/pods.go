package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Pods runs commands in the project's pods, by the API server.
type Pods struct {
	Config *rest.Config
	Client corev1client.CoreV1Interface
	// Namespace is names.Namespace unless the network was installed elsewhere.
	Namespace string
}

// Run runs a command in a pod that is at the place and ready, if there is one that is.
func (p *Pods) Run(ctx context.Context, at Place, streams Streams, argv ...string) error {
	pod, container, err := p.find(ctx, at)
	if err != nil {
		return err
	}
	request := p.Client.RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: container, Command: argv,
			Stdin: streams.In != nil, Stdout: streams.Out != nil, Stderr: streams.Err != nil,
		}, scheme.ParameterCodec)
	executor, err := p.executor(request)
	if err != nil {
		return fmt.Errorf("exec in pod %s/%s: %w", p.Namespace, pod, err)
	}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: streams.In, Stdout: streams.Out, Stderr: streams.Err})
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		return &ExitError{Argv: argv, Code: exit.Code}
	}
	if err != nil {
		return fmt.Errorf("exec in pod %s/%s, container %s: %w", p.Namespace, pod, container, err)
	}
	return nil
}

// executor uses WebSockets, and SPDY with API servers and proxies that have no WebSockets.
func (p *Pods) executor(request *rest.Request) (remotecommand.Executor, error) {
	webSocket, err := remotecommand.NewWebSocketExecutor(p.Config, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(p.Config, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(webSocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// find returns a pod at a place, and the container in it.
func (p *Pods) find(ctx context.Context, at Place) (pod, container string, err error) {
	if at == (Place{}) {
		return "", "", errors.New(`which node? Name it before "--", as in: kubectl ovn vsctl NODE -- show`)
	}
	component, container := at.component()
	selector := labels.Set(names.PodLabels(component)).String()
	o := metav1.ListOptions{LabelSelector: selector}
	if at.Node != "" {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", at.Node).String()
	}
	list, err := p.Client.Pods(p.Namespace).List(ctx, o)
	if err != nil {
		return "", "", fmt.Errorf("list pods %s in namespace %s: %w", selector, p.Namespace, err)
	}
	pods := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		return pod.Status.Phase != corev1.PodRunning || !slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == container })
	})
	if len(pods) == 0 {
		return "", "", fmt.Errorf("no pod with %s and container %s runs for %s in namespace %s: see kubectl -n %s get pods; "+
			"where the components are processes, give --access local or a command", selector, container, at, p.Namespace, p.Namespace)
	}
	best := max(0, slices.IndexFunc(pods, ready))
	return pods[best].Name, container, nil
}

func ready(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
