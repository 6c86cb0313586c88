package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/lab/hypervisor"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/proc"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// Status is a picture of a lab.
type Status struct {
	Name    string       `json:"name"`
	Family  plan.Family  `json:"family"`
	Install plan.Install `json:"install"`
	// Up tells whether the process that holds the lab lives.
	Up bool `json:"up"`
	// PID is that process's id.
	PID      int             `json:"pid,omitempty"`
	OVNRoot  string          `json:"ovnRoot,omitempty"`
	OVS      string          `json:"ovs,omitempty"`
	OVN      string          `json:"ovn,omitempty"`
	Machines []MachineStatus `json:"machines"`
	// APIError says why the nodes' readiness is not known.
	APIError string `json:"apiError,omitempty"`
}

// MachineStatus is a picture of a machine.
type MachineStatus struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	// Ended says how it ended, when it is known.
	Ended string `json:"ended,omitempty"`
	// PID of its init as the host sees it.
	PID int `json:"pid,omitempty"`
	// Ready is the node's condition in Kubernetes: True, False, Unknown or empty.
	Ready string `json:"ready,omitempty"`
	// Message explains a Ready that is not True.
	Message    string             `json:"message,omitempty"`
	Components []supervise.Status `json:"components,omitempty"`
}

// Running tells whether the process that holds the lab lives.
func (l *Lab) Running() bool {
	id, err := proc.ReadFile(hypervisor.IdentityPath(l.cfg.Dir))
	return err == nil && id.Alive()
}

// Status asks everything in the lab how it is. What does not answer is shown as
// such and is no error.
func (l *Lab) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	st := Status{Name: l.cfg.Name, Family: l.cfg.Family, Install: l.cfg.Install, OVNRoot: l.cfg.OVNRoot}
	if id, err := proc.ReadFile(hypervisor.IdentityPath(l.cfg.Dir)); err == nil && id.Alive() {
		st.Up, st.PID = true, id.PID
	}
	ended := map[string]string{}
	var known []hypervisor.Status
	if err := l.hypervisor().Do(ctx, http.MethodGet, "/machines", &known); err == nil {
		for _, m := range known {
			ended[m.Name] = m.Ended
		}
	}
	names := append([]string{plan.ControlPlane, plan.Outside}, l.Nodes()...)
	st.Machines = make([]MachineStatus, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { st.Machines[i] = l.machineStatus(ctx, name, ended[name]) })
	}
	wg.Go(func() { st.OVS, st.OVN = l.versions(ctx) })
	var nodes *corev1.NodeList
	var nodesErr error
	wg.Go(func() { nodes, nodesErr = l.listNodes(ctx) })
	wg.Wait()
	if nodesErr != nil {
		st.APIError = nodesErr.Error()
		return st
	}
	for i := range st.Machines {
		st.Machines[i].readiness(nodes.Items)
	}
	return st
}

func (l *Lab) machineStatus(ctx context.Context, name, ended string) MachineStatus {
	m := MachineStatus{Name: name, Ended: ended}
	pid, err := l.PID(name)
	if err != nil {
		return m
	}
	m.Running, m.PID = true, pid
	if comps, err := l.init(name).Components(ctx); err == nil {
		m.Components = comps
	} else {
		m.Ended = "its init does not answer: " + err.Error()
	}
	return m
}

func (m *MachineStatus) readiness(nodes []corev1.Node) {
	for _, n := range nodes {
		if n.Name != m.Name {
			continue
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				m.Ready = string(c.Status)
				if c.Status != corev1.ConditionTrue {
					m.Message = c.Message
				}
			}
		}
	}
}

func (l *Lab) listNodes(ctx context.Context) (*corev1.NodeList, error) {
	if _, err := l.PID(plan.ControlPlane); err != nil {
		return nil, err
	}
	client, err := l.Client()
	if err != nil {
		return nil, err
	}
	return client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
}

// versions asks the programs, not the packages: with another root they differ.
func (l *Lab) versions(ctx context.Context) (ovs, ovn string) {
	if l.cfg.Install == plan.InstallHelm {
		out, err := l.Exec(ctx, plan.ControlPlane, "ovn-nbctl", "--version") // in a pod
		if err != nil {
			return "", ""
		}
		_, library, _ := strings.Cut(out, "\n")
		return lastWordOfFirstLine(library), lastWordOfFirstLine(out)
	}
	for _, name := range slices.Concat(l.Nodes(), []string{plan.ControlPlane}) {
		if _, err := l.PID(name); err != nil {
			continue
		}
		if out, err := l.Exec(ctx, name, "ovs-vsctl", "--version"); err == nil {
			ovs = lastWordOfFirstLine(out)
		}
		if out, err := l.Exec(ctx, name, "ovn-nbctl", "--version"); err == nil {
			ovn = lastWordOfFirstLine(out)
		}
		return ovs, ovn
	}
	return "", ""
}

func lastWordOfFirstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	if len(f) == 0 {
		return ""
	}
	return f[len(f)-1]
}

// Components returns the components of a machine.
func (l *Lab) Components(ctx context.Context, name string) ([]supervise.Status, error) {
	if _, err := l.PID(name); err != nil {
		return nil, err
	}
	return l.init(name).Components(ctx)
}

// Kill sends SIGKILL to a component. Its init starts it again, after 0.1 s at
// first and up to 3 s when it keeps ending.
func (l *Lab) Kill(ctx context.Context, component, name string) error {
	return l.order(ctx, component, name, "kill")
}

// Crash sends SIGKILL to a component and leaves it stopped.
func (l *Lab) Crash(ctx context.Context, component, name string) error {
	return l.order(ctx, component, name, "crash")
}

// Restart ends a component in the way it prefers and starts it anew.
func (l *Lab) Restart(ctx context.Context, component, name string) error {
	return l.order(ctx, component, name, "restart")
}

// StopComponent ends a component and leaves it stopped.
func (l *Lab) StopComponent(ctx context.Context, component, name string) error {
	return l.order(ctx, component, name, "stop")
}

// StartComponent starts a component that StopComponent stopped.
func (l *Lab) StartComponent(ctx context.Context, component, name string) error {
	return l.order(ctx, component, name, "start")
}

func (l *Lab) order(ctx context.Context, component, name, verb string) error {
	if _, err := l.PID(name); err != nil {
		return err
	}
	if err := l.init(name).Order(ctx, component, verb); err != nil {
		return fmt.Errorf("%s %s on %s: %w", verb, component, name, err)
	}
	return nil
}

// MachinesWith returns the machines that have a component of that name.
func (l *Lab) MachinesWith(component string) []string {
	var out []string
	for _, name := range append([]string{plan.ControlPlane, plan.Outside}, l.Nodes()...) {
		if _, err := os.Stat(l.LogFile(name, component)); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// asStep is errors.As for a StepError.
func asStep(err error, se **StepError) bool { return errors.As(err, se) }
