package cni

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/ovsport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Options say what a Server serves.
type Options struct {
	// NodeName is the Kubernetes Node whose pods are attached.
	NodeName string
	// MTU is that of pods, in bytes.
	MTU int
	// Userspace says that the bridges' datapath type is netdev.
	Userspace bool
	// OVSDB are the endpoints of the local Open_vSwitch database.
	OVSDB []string
	// Client reads the node's pods.
	Client kubernetes.Interface
	// Ready tells whether the node is wired; its error is what CNI STATUS reports. May be nil.
	Ready func() error
	// Registerer takes the metrics. May be nil.
	Registerer prometheus.Registerer
	// Socket is the path of the unix socket; empty means names.CNISocket.
	Socket string
}

func (o *Options) validate() error {
	var errs []error
	if o.NodeName == "" {
		errs = append(errs, errors.New("no node name"))
	}
	if o.MTU < 576 || o.MTU > 65535 {
		errs = append(errs, fmt.Errorf("MTU %d is not between 576 and 65535", o.MTU))
	}
	if len(o.OVSDB) == 0 {
		errs = append(errs, errors.New("no endpoint of the Open_vSwitch database"))
	}
	if o.Client == nil {
		errs = append(errs, errors.New("no Kubernetes client"))
	}
	return errors.Join(errs...)
}

// portTable is the pods' ports in the Open vSwitch database; see ovsport.Table.
type portTable interface {
	Connected() bool
	HasBridge() bool
	Get(name string) (ovsport.Status, bool)
	List() []ovsport.Status
	Add(ctx context.Context, p ovsport.Port) error
	Remove(ctx context.Context, portNames ...string) error
	Sync(ctx context.Context) error
	WaitInstalled(ctx context.Context, name string) error
}

// Server serves CNI requests of the plugin binary.
type Server struct {
	opts      Options
	metrics   *metrics
	plumbing  plumbing
	ports     portTable
	pods      podSource
	netns     *netnsWatch
	sandboxes *sandboxes
	unplug    *unplugger
	// removed are the names of ports removed a short while ago.
	removed sync.Map
	serving chan struct{}
	once    sync.Once
}

// New checks the options and registers the metrics. It connects nothing.
func New(o Options) (*Server, error) {
	if o.Socket == "" {
		o.Socket = names.CNISocket
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("CNI server: %w", err)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("CNI server: %w", err)
	}
	// With the kernel's datapath nothing but the port keeps frames of the pod from the host's stack; see PodGuard.
	var grace time.Duration
	if o.Userspace {
		grace = unplugGrace
	}
	return &Server{
		opts: o, metrics: m, plumbing: kernel{}, sandboxes: newSandboxes(), serving: make(chan struct{}),
		unplug: newUnplugger(filepath.Join(filepath.Dir(o.Socket), names.CNIUnplugFolder), grace, kernel{}.Delete),
	}, nil
}

// Serving returns a channel that is closed when the socket accepts requests.
func (s *Server) Serving() <-chan struct{} { return s.serving }

// Run connects to the local database and to the API server, removes what a reboot has left, and serves
// until ctx ends; then it returns nil. It must be called once.
func (s *Server) Run(ctx context.Context) error {
	// Errors after ctx's end are its consequences.
	if err := s.run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("CNI server: %w", err)
	}
	return nil
}

func (s *Server) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errShutdown)

	pods, err := newPodWatch(s.opts.Client, s.opts.NodeName)
	if err != nil {
		return err
	}
	s.pods = pods
	wg.Go(func() { pods.run(ctx) })
	if s.netns, err = newNetnsWatch(); err != nil {
		return err
	}
	defer s.netns.close()
	wg.Go(s.netns.run)
	if s.ports, err = ovsport.Connect(ctx, s.opts.OVSDB); err != nil {
		return err
	}
	if err := s.removeOrphans(ctx); err != nil {
		return err
	}
	if err := s.unplug.load(); err != nil {
		return err
	}
	wg.Go(func() { s.unplug.run(ctx) })
	if s.opts.Userspace {
		if _, err := nft.Kernel().Ensure(ctx, PodGuard()); err != nil {
			return err
		}
	}
	return s.serve(ctx)
}

// serve accepts connections until ctx ends, and returns when the last request has ended.
func (s *Server) serve(ctx context.Context) error {
	listener, err := listen(s.opts.Socket)
	if err != nil {
		return err
	}
	// The cause tells requests that they are not to clean up: the shim asks the next agent.
	requests, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		cancel(errShutdown)
		listener.Close()
	})
	defer stop()
	defer listener.Close()

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(errShutdown)
	s.once.Do(func() { close(s.serving) })
	klog.InfoS("Serving CNI requests", "socket", s.opts.Socket)
	for {
		conn, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			klog.ErrorS(err, "Could not accept a CNI request")
			if !retry.Sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		wg.Go(func() { s.handle(requests, conn) })
	}
}
