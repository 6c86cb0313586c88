package access

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// Container is one of a pod.
type Container struct{ Namespace, Pod, Name string }

// Exec runs commands in containers, by the API server.
type Exec struct {
	Config *rest.Config
	Client corev1client.CoreV1Interface
}

// Run runs a command and waits for its end. A command that has failed is an *ExitError.
func (e *Exec) Run(ctx context.Context, in Container, streams Streams, argv ...string) error {
	request := e.Client.RESTClient().Post().Resource("pods").Namespace(in.Namespace).Name(in.Pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: in.Name, Command: argv,
			Stdin: streams.In != nil, Stdout: streams.Out != nil, Stderr: streams.Err != nil,
		}, scheme.ParameterCodec)
	executor, err := e.executor(request)
	if err != nil {
		return fmt.Errorf("exec in pod %s/%s: %w", in.Namespace, in.Pod, err)
	}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: streams.In, Stdout: streams.Out, Stderr: streams.Err})
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		return &ExitError{Argv: argv, Code: exit.Code}
	}
	if err != nil {
		return fmt.Errorf("exec in pod %s/%s, container %s: %w", in.Namespace, in.Pod, in.Name, err)
	}
	return nil
}

// executor uses WebSockets, and SPDY with API servers and proxies that have no WebSockets.
func (e *Exec) executor(request *rest.Request) (remotecommand.Executor, error) {
	webSocket, err := remotecommand.NewWebSocketExecutor(e.Config, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(e.Config, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(webSocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
