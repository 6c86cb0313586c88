package kube

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryv1 "k8s.io/client-go/kubernetes/typed/discovery/v1"
	networkingv1 "k8s.io/client-go/kubernetes/typed/networking/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"k8s.io/apimachinery/pkg/runtime"
)

// userAgent is what the API server's logs and flow control see.
const userAgent = "ovnkube"

// RESTConfig reads a kubeconfig file, or the credentials of the pod we run in when path is empty.
// apiServer, when not empty, overrides the server's URL. There is no client-side rate limit: the API server's own
// priority and fairness is the limit.
func RESTConfig(path, apiServer string) (*rest.Config, error) {
	cfg, err := load(path, apiServer)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	cfg.UserAgent = userAgent
	// Protobuf costs a fraction of JSON's CPU; JSON is what the server falls back to where it must.
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return cfg, nil
}

func load(path, apiServer string) (*rest.Config, error) {
	if path == "" && apiServer == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no --k8s-kubeconfig given and not running in a pod: %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags(apiServer, path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %q: %w", path, err)
	}
	return cfg, nil
}

// Clients are the API groups that are used.
type Clients struct {
	Core         corev1.CoreV1Interface
	Discovery    discoveryv1.DiscoveryV1Interface
	Networking   networkingv1.NetworkingV1Interface
	Coordination coordinationv1.CoordinationV1Interface
	// Events is rate limited.
	Events corev1.CoreV1Interface
	// Patches have connections of their own. The API server serves many requests on one connection slowly, and
	// the events of a watch on the same connection have to wait behind them.
	Patches []corev1.CoreV1Interface
}

// patchConnections is how many connections patches are spread over.
const patchConnections = 4

// dialTimeout and keepAlive of connections apart from the others; they are those of client-go.
const (
	dialTimeout = 30 * time.Second
	keepAlive   = 30 * time.Second
)

// Limits of the client that writes Events, which are of no use in masses.
const (
	eventQPS   = 20
	eventBurst = 100
)

// NewClients connects nothing yet. Requests for Leases go apart from all others (leaseConfig); Events are rate limited.
func NewClients(cfg *rest.Config) (Clients, error) {
	var c Clients
	var err error
	if c.Core, err = corev1.NewForConfig(cfg); err != nil {
		return Clients{}, fmt.Errorf("core client: %w", err)
	}
	if c.Discovery, err = discoveryv1.NewForConfig(cfg); err != nil {
		return Clients{}, fmt.Errorf("discovery client: %w", err)
	}
	if c.Networking, err = networkingv1.NewForConfig(cfg); err != nil {
		return Clients{}, fmt.Errorf("networking client: %w", err)
	}
	if c.Coordination, err = coordinationv1.NewForConfig(leaseConfig(cfg)); err != nil {
		return Clients{}, fmt.Errorf("coordination client: %w", err)
	}
	events := rest.CopyConfig(cfg)
	events.QPS, events.Burst = eventQPS, eventBurst
	if c.Events, err = corev1.NewForConfig(events); err != nil {
		return Clients{}, fmt.Errorf("events client: %w", err)
	}
	for range patchConnections {
		client, err := corev1.NewForConfig(apart(cfg, dialTimeout))
		if err != nil {
			return Clients{}, fmt.Errorf("client for patches: %w", err)
		}
		c.Patches = append(c.Patches, client)
	}
	return c, nil
}

// apart returns the configuration of a client with a connection of its own. Clients of equal configurations share one; a dialer of its own
// makes this one differ.
func apart(cfg *rest.Config, timeout time.Duration) *rest.Config {
	own := rest.CopyConfig(cfg)
	own.Dial = (&net.Dialer{Timeout: timeout, KeepAlive: keepAlive}).DialContext
	return own
}

// leaseConfig is for requests whose time limit is short: their context's, since a limit of the client's is told to the API server, which
// would let them wait in its queues for a quarter of that only.
//
// The lists of everything must not hold them up: they have a connection of their own. One that is dead must not hold up the next request:
// HTTP/1.1 gives up the connection with the request, where HTTP/2 goes on with it for 45 s.
func leaseConfig(cfg *rest.Config) *rest.Config {
	lease := apart(cfg, dialTimeout)
	lease.NextProtos = []string{"http/1.1"}
	lease.Wrap(func(next http.RoundTripper) http.RoundTripper { return atOnce{next} })
	return lease
}

// atOnce leaves it to the caller when a request that was refused is tried again. The client itself would wait for whole seconds (Retry-After).
type atOnce struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a atOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := a.next.RoundTrip(r)
	if err == nil {
		response.Header.Del("Retry-After")
	}
	return response, err
}

// Patcher sets annotations.
type Patcher interface {
	// PatchPod sets annotations of the pod with this UID. The error is Invalid when the pod of
	// that name has another UID, NotFound when there is none.
	PatchPod(ctx context.Context, ref Ref, annotations map[string]string) error
	// PatchNode does the same for a node.
	PatchNode(ctx context.Context, ref Ref, annotations map[string]string) error
}
