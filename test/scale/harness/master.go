package harness

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	masterMetrics  = "127.0.0.1:9409"
	masterIdentity = "scale"
	masterSubnets  = "10.128.0.0/14/23"
	masterTimeout  = 60 * time.Second
)

// MasterOptions say how to run the master.
type MasterOptions struct {
	// Binary is the ovnkube executable.
	Binary     string
	Kubeconfig string
	NB, SB     *Database
	// Identity names the replica, Metrics is where it answers; empty: those of the only one.
	Identity, Metrics string
	// Subnets are the cluster's; empty: 512 nodes' worth of them.
	Subnets string
	// Args are further arguments.
	Args []string
	// Env is added to its environment.
	Env []string
}

// Master is a running `ovnkube master`.
type Master struct {
	*Process
	// Started is when the process was started, TimeToReady how long until /readyz said yes.
	Started     time.Time
	TimeToReady time.Duration
	metrics     string
}

// StartMaster runs the master and waits until it is ready.
func StartMaster(ctx context.Context, o MasterOptions) (*Master, error) {
	o.Identity, o.Metrics, o.Subnets = cmp.Or(o.Identity, masterIdentity), cmp.Or(o.Metrics, masterMetrics), cmp.Or(o.Subnets, masterSubnets)
	m := &Master{Started: time.Now(), metrics: o.Metrics}
	var err error
	m.Process, err = Start(Command{Name: "ovnkube-master-" + o.Identity, Path: o.Binary, Env: o.Env, Args: append([]string{
		"master", "--k8s-kubeconfig=" + o.Kubeconfig, "--nb-address=" + o.NB.Remote, "--sb-address=" + o.SB.Remote,
		"--cluster-subnets=" + o.Subnets, "--k8s-service-cidrs=" + serviceCIDR,
		"--metrics-bind-address=" + o.Metrics, "--identity=" + o.Identity,
	}, o.Args...)})
	if err != nil {
		return nil, err
	}
	if err := m.WaitFor(ctx, masterTimeout, m.ready); err != nil {
		m.Stop(0)
		return nil, err
	}
	m.TimeToReady = time.Since(m.Started)
	return m, nil
}

func (m *Master) ready(ctx context.Context) error {
	_, err := m.get(ctx, "/readyz")
	return err
}

// Metrics returns what /metrics says now.
func (m *Master) Metrics(ctx context.Context) (string, error) { return m.get(ctx, "/metrics") }

func (m *Master) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.metrics+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return string(body), nil
}
