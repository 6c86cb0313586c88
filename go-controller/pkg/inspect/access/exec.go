package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	compatible "k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // spdy.Upgrader has no other type
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// maxRefusal is how many bytes of an answer are read.
const maxRefusal = 64 << 10

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
	transport, upgrader, err := spdy.RoundTripperFor(e.Config)
	if err != nil {
		return nil, err
	}
	older, err := remotecommand.NewSPDYExecutorForTransports(transport, refusals{upgrader}, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(webSocket, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// refusals keeps why an API server has refused SPDY, by which a right that is lacking can be told from all else. It is asked again in that way
// by those who may create exec but not get it, too.
type refusals struct{ spdy.Upgrader }

// NewConnection returns the server's answer as an *apierrors.StatusError, if it is one.
func (r refusals) NewConnection(answer *http.Response) (compatible.Connection, error) {
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return r.Upgrader.NewConnection(answer)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err != nil {
		return nil, fmt.Errorf("read the refusal: %w", err)
	}
	var status metav1.Status
	if json.Unmarshal(text, &status) == nil && status.Reason != "" {
		return nil, &apierrors.StatusError{ErrStatus: status}
	}
	answer.Body = io.NopCloser(bytes.NewReader(text))
	return r.Upgrader.NewConnection(answer)
}
