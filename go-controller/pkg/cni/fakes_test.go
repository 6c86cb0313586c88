package cni

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/ovsport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// signal wakes waiters whenever something has changed.
type signal struct {
	mu      sync.Mutex
	waiters map[chan struct{}]struct{}
}

func (s *signal) watch() (<-chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{}, 1)
	if s.waiters == nil {
		s.waiters = map[chan struct{}]struct{}{}
	}
	s.waiters[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiters, ch)
	}
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.waiters {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// fakePorts is a portTable in memory. A port's flows are installed when mute is false, or later by install.
type fakePorts struct {
	signal

	mu       sync.Mutex
	ports    map[string]ovsport.Status
	mute     bool
	down     bool
	noBridge bool
	failAdd  error
	writes   int
	syncs    int
}

func (f *fakePorts) Connected() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.down }
func (f *fakePorts) HasBridge() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.noBridge }

func (f *fakePorts) Get(name string) (ovsport.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.ports[name]
	s.ExternalIDs = maps.Clone(s.ExternalIDs)
	return s, ok
}

func (f *fakePorts) List() []ovsport.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []ovsport.Status
	for _, s := range f.ports {
		if s.Sandbox() != "" {
			out = append(out, s)
		}
	}
	return out
}

func (f *fakePorts) Add(_ context.Context, p ovsport.Port) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failAdd != nil {
		return f.failAdd
	}
	f.writes++
	for name, other := range f.ports {
		if other.LogicalPort() == p.LogicalPort {
			delete(f.ports, name)
		}
	}
	f.ports[p.Name] = ovsport.Status{Name: p.Name, OnBridge: true, OFPort: 1, ExternalIDs: p.ExternalIDs()}
	if !f.mute {
		f.ports[p.Name].ExternalIDs[names.OVNInstalled] = "true"
	}
	go f.fire()
	return nil
}

func (f *fakePorts) Remove(_ context.Context, portNames ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errors.New("no database")
	}
	for _, name := range portNames {
		delete(f.ports, name)
	}
	go f.fire()
	return nil
}

func (f *fakePorts) Sync(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	return nil
}

func (f *fakePorts) WaitInstalled(ctx context.Context, name string) error {
	wake, stop := f.watch()
	defer stop()
	for {
		if s, ok := f.Get(name); !ok {
			return ovsport.ErrRemoved
		} else if s.Installed() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: no flows", context.Cause(ctx))
		case <-wake:
		}
	}
}

// fakeKernel is a plumbing in memory.
type fakeKernel struct {
	mu            sync.Mutex
	veths         map[string]plumb.Veth
	configured    map[string]bool
	broken        map[string][]string
	failCreate    error
	failConfigure error
}

func (f *fakeKernel) Create(v plumb.Veth) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failCreate != nil {
		return f.failCreate
	}
	f.veths[v.HostName] = v
	delete(f.configured, v.HostName)
	return nil
}

func (f *fakeKernel) Configure(v plumb.Veth) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failConfigure != nil {
		return f.failConfigure
	}
	f.configured[v.HostName] = true
	return nil
}

func (f *fakeKernel) Differences(v plumb.Veth) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.veths[v.HostName]; !ok {
		return []string{"veth is gone"}, nil
	}
	if !f.configured[v.HostName] {
		return []string{"veth is not configured"}, nil
	}
	return slices.Clone(f.broken[v.HostName]), nil
}

func (f *fakeKernel) Delete(hostName string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.veths, hostName)
	delete(f.configured, hostName)
	return nil
}

func (f *fakeKernel) HostEnds() (map[string]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]string{}
	for name, v := range f.veths {
		out[name] = v.Sandbox
	}
	return out, nil
}

// fakePods is a podSource in memory: seen is what the watch shows, real what the API server has.
type fakePods struct {
	signal

	mu         sync.Mutex
	seen, real map[string]podInfo
	unsynced   bool
}

func (f *fakePods) get(namespace, name string) (podInfo, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.seen[namespace+"/"+name]
	return info, ok
}

func (f *fakePods) watch(_, _ string) (<-chan struct{}, func()) { return f.signal.watch() }

func (f *fakePods) lookup(_ context.Context, namespace, name string) (podInfo, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.real[namespace+"/"+name]
	return info, ok, nil
}

func (f *fakePods) synced() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.unsynced }

// put changes a pod in the API server and, unless it lags, in the watch.
func (f *fakePods) put(key string, info podInfo, lags bool) {
	f.mu.Lock()
	f.real[key] = info
	if !lags {
		f.seen[key] = info
	}
	f.mu.Unlock()
	f.fire()
}

func (f *fakePods) drop(key string) {
	f.mu.Lock()
	delete(f.real, key)
	delete(f.seen, key)
	f.mu.Unlock()
	f.fire()
}

// fixture is a Server on fakes.
type fixture struct {
	*Server
	ports  *fakePorts
	kernel *fakeKernel
	pods   *fakePods
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		ports:  &fakePorts{ports: map[string]ovsport.Status{}},
		kernel: &fakeKernel{veths: map[string]plumb.Veth{}, configured: map[string]bool{}, broken: map[string][]string{}},
		pods:   &fakePods{seen: map[string]podInfo{}, real: map[string]podInfo{}},
	}
	watch, err := newNetnsWatch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.close)
	f.Server = &Server{
		opts: Options{NodeName: "n", MTU: 1400, Userspace: true}, metrics: m, plumbing: f.kernel, ports: f.ports, pods: f.pods,
		netns: watch, sandboxes: newSandboxes(), serving: make(chan struct{}), unplug: newUnplugger(t.TempDir(), 0, f.kernel.Delete),
	}
	close(f.serving)
	return f
}

// leftovers are the veths and ports that there are.
func (f *fixture) leftovers() []string {
	var out []string
	for _, p := range f.ports.List() {
		out = append(out, "port "+p.Name)
	}
	ends, _ := f.kernel.HostEnds()
	for name := range ends {
		out = append(out, "veth "+name)
	}
	return out
}

func annotated(uid string, network annotations.PodNetwork) podInfo {
	return podInfo{UID: uid, RuntimeUID: uid, Annotations: map[string]string{names.PodNetworksAnnotation: annotations.FormatPodNetwork(network)}}
}
