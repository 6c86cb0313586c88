//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// Limits that users are promised.
const (
	// takeover is how long a standby master may take to do the work of a killed leader, released of one that was stopped. A pod
	// needs half a second of them by itself.
	takeover = 5*time.Second + time.Second
	released = time.Second + time.Second
	// switchOutage is how long the switch itself may be away.
	switchOutage = time.Second
)

// table lists the faults. Those that have no outage must cost nothing.
func table() []fault {
	return []fault{
		{name: "none", inject: wait(3 * time.Second), fromHeal: true, noise: true},
		{name: "master: leader killed", inject: killLeader},
		{name: "master: leader killed, stays away", inject: crashLeader, hold: 6 * time.Second, usable: takeover},
		{name: "master: leader stopped", inject: stopLeader, hold: 3 * time.Second, usable: released},
		{name: "master: standby killed", inject: killStandby},
		{name: "master: both killed", inject: kills(at(plan.ControlPlane, plan.Master), at(plan.ControlPlane, plan.StandbyMaster))},
		{name: "master: out of memory", inject: exhaustLeader},
		{name: "node agent", inject: onFirst(plan.NodeAgent)},
		{name: "node agent: out of memory", inject: exhaustAgent},
		{name: "ovn-controller", inject: onFirst(plan.OVNController)},
		{name: "ovn-northd", inject: kills(at(plan.ControlPlane, plan.Northd))},
		{name: "northbound database", inject: kills(at(plan.ControlPlane, plan.NBDB))},
		{name: "southbound database", inject: kills(at(plan.ControlPlane, plan.SBDB))},
		{name: "both databases and ovn-northd", inject: kills(at(plan.ControlPlane, plan.NBDB), at(plan.ControlPlane, plan.SBDB), at(plan.ControlPlane, plan.Northd))},
		{name: "northbound database: disk full", prepare: smallDisk, inject: fillDisk, hold: 4 * time.Second, fromHeal: true},
		{name: "kube-apiserver", inject: kills(at(plan.ControlPlane, plan.APIServer))},
		{name: "etcd", inject: kills(at(plan.ControlPlane, plan.Etcd))},
		{name: "kubelet", inject: onFirst(plan.Kubelet)},
		{name: "containerd", inject: onFirst(plan.Containerd)},
		// Its loss stops the userspace switch until ovs-vswitchd is connected again.
		{name: "ovsdb-server of a node", inject: onFirst(plan.OVSDB), outage: 8 * time.Second},
		{name: "ovs-vswitchd", inject: onFirst(plan.VSwitchd), outage: switchOutage},
		{name: "node cut off, both ways", inject: cut("ingress", "egress"), hold: 3 * time.Second, fromHeal: true, spared: []string{nearPath, outPath}},
		{name: "node cut off, cannot send", inject: cut("ingress"), hold: 3 * time.Second, fromHeal: true, spared: []string{nearPath, outPath}},
		{name: "node cut off, cannot receive", inject: cut("egress"), hold: 3 * time.Second, fromHeal: true, spared: []string{nearPath, outPath}},
		// Its boot takes the lab's processors: what does not touch it must go on, but may be slow.
		{name: "node powered off", inject: powerOff, hold: 2 * time.Second, fromHeal: true, spared: []string{nearPath, outPath}, outage: time.Second},
	}
}

// injection is a way to break something, see fault.inject.
type injection = func(context.Context, *harness) (func(context.Context) error, error)

func wait(d time.Duration) injection {
	return func(context.Context, *harness) (func(context.Context) error, error) {
		time.Sleep(d)
		return nil, nil
	}
}

// victim is a component of a machine.
type victim struct{ machine, component string }

func at(machine, component string) victim { return victim{machine, component} }

// kills sends SIGKILL to all at once.
func kills(victims ...victim) injection {
	return func(ctx context.Context, h *harness) (func(context.Context) error, error) {
		return nil, h.kill(ctx, victims...)
	}
}

// onFirst kills a component of the node from which most paths begin.
func onFirst(component string) injection {
	return func(ctx context.Context, h *harness) (func(context.Context) error, error) {
		return nil, h.kill(ctx, at(h.Nodes()[0], component))
	}
}

// kill kills components and waits until they have new processes.
func (h *harness) kill(ctx context.Context, victims ...victim) error {
	old := make([]int, len(victims))
	for i, v := range victims {
		c, err := h.component(ctx, v)
		if err != nil {
			return err
		}
		old[i] = c.PID
		if err := h.Kill(ctx, v.component, v.machine); err != nil {
			return err
		}
	}
	return h.renewed(ctx, victims, old)
}

// renewed waits until components have other processes than before.
func (h *harness) renewed(ctx context.Context, victims []victim, old []int) error {
	return eventually(ctx, patience, func() error {
		for i, v := range victims {
			c, err := h.component(ctx, v)
			if err != nil {
				return err
			}
			if c.State != supervise.StateRunning || c.PID == old[i] {
				return fmt.Errorf("%s on %s is %s (%s)", v.component, v.machine, c.State, c.Detail)
			}
		}
		return nil
	})
}

func (h *harness) component(ctx context.Context, v victim) (supervise.Status, error) {
	list, err := h.Components(ctx, v.machine)
	if err != nil {
		return supervise.Status{}, err
	}
	for _, c := range list {
		if c.Name == v.component {
			return c, nil
		}
	}
	return supervise.Status{}, fmt.Errorf("%s has no component %s", v.machine, v.component)
}

func killLeader(ctx context.Context, h *harness) (func(context.Context) error, error) {
	leader, err := h.leader(ctx)
	if err != nil {
		return nil, err
	}
	return nil, h.kill(ctx, at(plan.ControlPlane, leader))
}

func killStandby(ctx context.Context, h *harness) (func(context.Context) error, error) {
	leader, err := h.leader(ctx)
	if err != nil {
		return nil, err
	}
	standby := map[string]string{plan.Master: plan.StandbyMaster, plan.StandbyMaster: plan.Master}[leader]
	return nil, h.kill(ctx, at(plan.ControlPlane, standby))
}

func crashLeader(ctx context.Context, h *harness) (func(context.Context) error, error) {
	return h.withoutLeader(ctx, h.Crash)
}

func stopLeader(ctx context.Context, h *harness) (func(context.Context) error, error) {
	return h.withoutLeader(ctx, h.StopComponent)
}

func (h *harness) withoutLeader(ctx context.Context, end func(ctx context.Context, component, machine string) error) (func(context.Context) error, error) {
	leader, err := h.leader(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return h.StartComponent(ctx, leader, plan.ControlPlane) }, end(ctx, leader, plan.ControlPlane)
}

func exhaustLeader(ctx context.Context, h *harness) (func(context.Context) error, error) {
	leader, err := h.leader(ctx)
	if err != nil {
		return nil, err
	}
	port := map[string]uint16{plan.Master: plan.MasterHealth, plan.StandbyMaster: plan.StandbyHealth}[leader]
	return nil, h.exhaust(ctx, at(plan.ControlPlane, leader), port)
}

func exhaustAgent(ctx context.Context, h *harness) (func(context.Context) error, error) {
	return nil, h.exhaust(ctx, at(h.Nodes()[0], plan.NodeAgent), plan.AgentHealth)
}

// exhaust gives a process less memory than it has: the kernel kills it at the next page that it asks for, for which it is kept busy.
func (h *harness) exhaust(ctx context.Context, v victim, port uint16) error {
	c, err := h.component(ctx, v)
	if err != nil {
		return err
	}
	const script = `d=/sys/fs/cgroup/memory/exhausted f=memory.limit_in_bytes
[ -d /sys/fs/cgroup/memory ] || d=/sys/fs/cgroup/exhausted f=memory.max
mkdir -p $d && echo 16384 > $d/$f && echo $0 > $d/cgroup.procs`
	if _, err := h.Exec(ctx, v.machine, "sh", "-c", script, fmt.Sprint(c.PID)); err != nil {
		return err
	}
	busy, rest := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for busy.Err() == nil {
			_ = h.readyz(busy, v.machine, port) // its answer says nothing
		}
	})
	defer wg.Wait()
	defer rest()
	return h.renewed(ctx, []victim{v}, []int{c.PID})
}

// Places of the northbound database: where it is, and the small disk it moves to.
const (
	database  = "/var/lib/ovn/ovnnb_db.db"
	smallRoot = "/run/small"
)

// smallDisk moves the northbound database to a disk with a megabyte left.
func smallDisk(ctx context.Context, h *harness) (func(context.Context) error, error) {
	move := func(ctx context.Context, script string) error {
		if err := h.StopComponent(ctx, plan.NBDB, plan.ControlPlane); err != nil {
			return err
		}
		if _, err := h.Exec(ctx, plan.ControlPlane, "sh", "-ec", script); err != nil {
			return err
		}
		return h.StartComponent(ctx, plan.NBDB, plan.ControlPlane)
	}
	err := move(ctx, `mkdir -p `+smallRoot+`; mount -t tmpfs -o size=$(( $(stat -c %s `+database+`) / 1024 + 1024 ))k tmpfs `+smallRoot+`
mv `+database+` `+smallRoot+`/nb; ln -s `+smallRoot+`/nb `+database)
	return func(ctx context.Context) error {
		err := move(ctx, `rm `+database+`; cp `+smallRoot+`/nb `+database+`; umount `+smallRoot)
		if err != nil {
			return err
		}
		return h.healthy(ctx)
	}, err
}

// fillDisk leaves nothing of the small disk, and has the master write something that makes no port: the userspace switch may drop
// a packet when it gets one.
func fillDisk(ctx context.Context, h *harness) (func(context.Context) error, error) {
	if _, err := h.Exec(ctx, plan.ControlPlane, "sh", "-c", "cat /dev/zero > "+smallRoot+"/filler 2>/dev/null; true"); err != nil {
		return nil, err
	}
	const name = "unwritten"
	services := h.client.CoreV1().Services(namespace)
	free := func(ctx context.Context) error {
		_, err := h.Exec(ctx, plan.ControlPlane, "rm", "-f", smallRoot+"/filler")
		return errors.Join(err, services.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	_, err := services.Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"end": "1"}, Ports: []corev1.ServicePort{{Port: 80}},
	}}, metav1.CreateOptions{})
	return free, err
}

// cut drops what comes from the second node (its port's ingress), or goes to it (egress).
func cut(hooks ...string) injection {
	return func(ctx context.Context, h *harness) (func(context.Context) error, error) {
		node := h.Nodes()[1]
		rules := "table netdev cut {\n"
		for _, hook := range hooks {
			rules += fmt.Sprintf("chain %s { type filter hook %s device %q priority 0; policy drop; }\n", hook, hook, node)
		}
		heal := func(ctx context.Context) error {
			_, err := h.Exec(ctx, plan.ControlPlane, "nft", "delete", "table", "netdev", "cut")
			return err
		}
		_, err := h.Exec(ctx, plan.ControlPlane, "nft", rules+"}")
		return heal, err
	}
}

// powerOff switches the second node off; its pods come back with it.
func powerOff(ctx context.Context, h *harness) (func(context.Context) error, error) {
	node := h.Nodes()[1]
	heal := func(ctx context.Context) error {
		if err := h.StartNode(ctx, node); err != nil {
			return err
		}
		return h.refresh(ctx)
	}
	return heal, h.StopNode(ctx, node)
}
