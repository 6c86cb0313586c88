package load

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

const (
	// connections is how many connections the objects are created over, and inFlight how many requests wait
	// for an answer at a time on each.
	connections = 8
	inFlight    = 2
	mimeType    = "application/vnd.kubernetes.protobuf"
)

// Generator creates objects.
type Generator struct {
	clients []kubernetes.Interface
	encode  runtime.Encoder
}

// NewGenerator returns a generator that opens its own connections with a copy of config.
func NewGenerator(config *rest.Config) (*Generator, error) {
	g := &Generator{}
	var err error
	if g.clients, err = separate(config, connections); err != nil {
		return nil, err
	}
	g.encode = scheme.Codecs.EncoderForVersion(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), corev1.SchemeGroupVersion)
	return g, nil
}

// separate returns n clients with a connection each.
func separate(config *rest.Config, n int) ([]kubernetes.Interface, error) {
	var clients []kubernetes.Interface
	for range n {
		own := rest.CopyConfig(config)
		// client-go shares a connection among equal configurations; a dialer of its own makes them differ.
		dial := config.Dial
		if dial == nil {
			dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
		}
		own.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, network, address)
		}
		client, err := kubernetes.NewForConfig(own)
		if err != nil {
			return nil, fmt.Errorf("client for load: %w", err)
		}
		clients = append(clients, client)
	}
	return clients, nil
}

// Prepare makes the namespaces, each with the service account that the API server gives to pods.
func (g *Generator) Prepare(ctx context.Context) error {
	core := g.clients[0].CoreV1()
	for i := range namespaces {
		name := Namespace(i)
		_, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
		_, err = core.ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create service account in %s: %w", name, err)
		}
	}
	return nil
}

// Span is the time from the first request to the last answer.
type Span struct{ Start, End time.Time }

// Duration is the length of s.
func (s Span) Duration() time.Duration { return s.End.Sub(s.Start) }

// CreateNodes creates n nodes.
func (g *Generator) CreateNodes(ctx context.Context, n int) (Span, error) {
	return g.createNodes(ctx, n, Node)
}

// CreateGatewayNodes creates n nodes that lead out of the cluster.
func (g *Generator) CreateGatewayNodes(ctx context.Context, n int) (Span, error) {
	return g.createNodes(ctx, n, GatewayNode)
}

func (g *Generator) createNodes(ctx context.Context, n int, node func(int) *corev1.Node) (Span, error) {
	return g.each(ctx, n, func(ctx context.Context, client rest.Interface, body []byte, _ int) error {
		return client.Post().Resource("nodes").SetHeader("Content-Type", mimeType).Body(body).Do(ctx).Error()
	}, func(i int) runtime.Object { return node(i) })
}

// CreatePods creates n pods spread evenly over nodes.
func (g *Generator) CreatePods(ctx context.Context, n, nodes int) (Span, error) {
	return g.each(ctx, n, func(ctx context.Context, client rest.Interface, body []byte, i int) error {
		request := client.Post().Namespace(Namespace(i % namespaces)).Resource("pods")
		// The answer is not decoded: the load should cost the machine as little as possible.
		return request.SetHeader("Content-Type", mimeType).Body(body).Do(ctx).Error()
	}, func(i int) runtime.Object { return Pod(i, nodes) })
}

// DeletePods deletes all pods that CreatePods made, at once and without grace: there is no kubelet to wait for.
func (g *Generator) DeletePods(ctx context.Context) error {
	now := int64(0)
	for i := range namespaces {
		err := g.clients[0].CoreV1().Pods(Namespace(i)).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("delete the pods of %s: %w", Namespace(i), err)
		}
	}
	return nil
}

type creator func(ctx context.Context, client rest.Interface, body []byte, i int) error

// each encodes n objects beforehand and then creates them with all connections.
func (g *Generator) each(ctx context.Context, n int, create creator, object func(int) runtime.Object) (Span, error) {
	bodies := make([][]byte, n)
	for i := range bodies {
		body, err := runtime.Encode(g.encode, object(i))
		if err != nil {
			return Span{}, fmt.Errorf("encode object %d: %w", i, err)
		}
		bodies[i] = body
	}
	return g.parallel(ctx, n, func(ctx context.Context, client kubernetes.Interface, i int) error {
		return create(ctx, client.CoreV1().RESTClient(), bodies[i], i)
	})
}

// parallel calls create n times, over all connections.
func (g *Generator) parallel(ctx context.Context, n int, create func(ctx context.Context, client kubernetes.Interface, i int) error) (Span, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	span := Span{Start: time.Now()}
	for w := range connections * inFlight {
		client := g.clients[w%connections]
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := create(ctx, client, i); err != nil {
					cancel(fmt.Errorf("create object %d: %w", i, err))
				}
			}
		})
	}
	workers.Wait()
	span.End = time.Now()
	return span, context.Cause(ctx)
}
