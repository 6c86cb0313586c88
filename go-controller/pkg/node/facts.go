package node

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
)

// facts is what one reconciler finds out and others need. Setters tell whether something has changed.
type facts struct {
	mu sync.Mutex
	// uplink is what the external bridge carries; known is false before it has been found out.
	uplink      bridge.Record
	uplinkKnown bool
	// subnets are the node's, from the API server or remembered.
	subnets []netip.Prefix
	// serviceRoutes are the service networks to which the host had routes when the agent began.
	serviceRoutes []netip.Prefix
	// systemID is the chassis' name.
	systemID string
	// tunnelDevice is the device through which tunnels leave.
	tunnelDevice string
	// gateway is the text of the annotation that tells how the node leads out; empty while that is not certain.
	gateway string
	// emptied says that Open vSwitch has thrown away the integration bridge's flows.
	emptied bool
	// mtuProblem is why pods' packets do not fit through the uplink.
	mtuProblem error
	// ready is closed when pods can be served for the first time.
	ready     chan struct{}
	readyOnce sync.Once
}

func newFacts() *facts { return &facts{ready: make(chan struct{})} }

// setReady tells whether this is the first time.
func (f *facts) setReady() (first bool) {
	f.readyOnce.Do(func() {
		close(f.ready)
		first = true
	})
	return first
}

func (f *facts) setUplink(r bridge.Record) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = !f.uplinkKnown || !slices.Equal(f.uplink.Addresses, r.Addresses) || !slices.Equal(f.uplink.Routes, r.Routes) || f.uplink.MTU != r.MTU || f.uplink.NIC != r.NIC
	f.uplink, f.uplinkKnown = r, true
	return changed
}

func (f *facts) getUplink() (bridge.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.uplink, f.uplinkKnown
}

func (f *facts) setSubnets(subnets []netip.Prefix) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = !slices.Equal(f.subnets, subnets)
	f.subnets = subnets
	return changed
}

func (f *facts) getSubnets() []netip.Prefix {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subnets
}

func (f *facts) setServiceRoutes(networks []netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serviceRoutes = networks
}

func (f *facts) getServiceRoutes() []netip.Prefix {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serviceRoutes
}

func (f *facts) setSystemID(id string) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = f.systemID != id
	f.systemID = id
	return changed
}

func (f *facts) getSystemID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.systemID
}

func (f *facts) setTunnelDevice(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tunnelDevice = name
}

func (f *facts) getTunnelDevice() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tunnelDevice
}

func (f *facts) setGateway(annotation string) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = f.gateway != annotation
	f.gateway = annotation
	return changed
}

func (f *facts) getGateway() (annotation string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gateway
}

func (f *facts) setEmptied(emptied bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.emptied = emptied
}

func (f *facts) takeEmptied() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.emptied
	f.emptied = false
	return was
}

func (f *facts) setMTUProblem(err error) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = fmt.Sprint(f.mtuProblem) != fmt.Sprint(err)
	f.mtuProblem = err
	return changed
}

func (f *facts) getMTUProblem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mtuProblem
}
