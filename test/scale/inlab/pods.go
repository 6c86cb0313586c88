package inlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/netns"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// Namespace is where scenarios put their objects.
const Namespace = "bench"

// podPoll is between two looks at what is not told by an event here.
const podPoll = 100 * time.Millisecond

// MakeNamespace makes the namespace and waits until pods can be made in it.
func (b *Bench) MakeNamespace(ctx context.Context) error {
	_, err := b.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("namespace of the benchmark: %w", err)
	}
	for {
		_, err := b.Client.CoreV1().ServiceAccounts(Namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return nil
		}
		if err := pause(ctx, podPoll); err != nil {
			return fmt.Errorf("service account of namespace %s: %w", Namespace, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// StartPod makes a pod that does nothing, with a label "app" of its name, on a node and returns its network once it is ready.
func (b *Bench) StartPod(ctx context.Context, name, node string) (traffic.Place, error) {
	second, none := int64(1), false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &second, AutomountServiceAccountToken: &none,
			Containers: []corev1.Container{{Name: "pause", Image: image.Pause, ImagePullPolicy: corev1.PullNever}},
		},
	}
	pods := b.Client.CoreV1().Pods(Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return traffic.Place{}, fmt.Errorf("create pod %s: %w", name, err)
	}
	for {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return traffic.Place{}, fmt.Errorf("pod %s: %w", name, err)
		}
		if ready(pod) {
			return b.place(pod)
		}
		if err := pause(ctx, podPoll); err != nil {
			return traffic.Place{}, fmt.Errorf("pod %s on %s is %s: %w", name, node, pod.Status.Phase, err)
		}
	}
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// place finds the network namespace that has the pod's address.
func (b *Bench) place(pod *corev1.Pod) (traffic.Place, error) {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return traffic.Place{}, fmt.Errorf("address of pod %s: %w", pod.Name, err)
	}
	dir, err := b.Lab.Path(pod.Spec.NodeName, "/run/netns")
	if err != nil {
		return traffic.Place{}, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return traffic.Place{}, err
	}
	for _, file := range files {
		if has(file, address) {
			return traffic.Place{Name: pod.Name, NetNS: file, Addresses: []netip.Addr{address}}, nil
		}
	}
	return traffic.Place{}, fmt.Errorf("pod %s: no network namespace on %s has its address %s", pod.Name, pod.Spec.NodeName, address)
}

// has tells whether a device of a network namespace has an address. What is no namespace, or goes away, has none.
func has(namespace string, address netip.Addr) bool {
	errHas := errors.New("it has")
	err := netns.Do(namespace, func() error {
		addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == address {
				return errHas
			}
		}
		return nil
	})
	return errors.Is(err, errHas)
}

// Machine returns the network of a machine of the lab.
func (b *Bench) Machine(name string) (traffic.Place, error) {
	pid, err := b.Lab.PID(name)
	if err != nil {
		return traffic.Place{}, err
	}
	p := traffic.Place{Name: name, NetNS: filepath.Join("/proc", fmt.Sprint(pid), "ns/net")}
	if name == plan.Outside {
		p.Addresses = b.Lab.Family().OutsideServer()
		return p, nil
	}
	p.Addresses, err = b.Lab.NodeAddrs(name)
	return p, err
}
