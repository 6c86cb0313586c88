//go:build e2e

package faults

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// The watch of addresses itself: who has one that another pod has is told, who gets one that has become free is not.
func TestOwners(t *testing.T) {
	pod := func(name string, phase corev1.PodPhase) *corev1.Pod {
		p := newPod(name, "node1", nil)
		p.UID, p.Status.Phase = types.UID(name), phase
		p.Annotations = map[string]string{names.PodNetworksAnnotation: annotations.FormatPodNetwork(annotations.PodNetwork{
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.128.0.5/23")}, MAC: net.HardwareAddr{10, 88, 10, 128, 0, 5},
			Gateways: []netip.Addr{netip.MustParseAddr("10.128.0.1")},
		})}
		return p
	}
	for name, tc := range map[string]struct {
		exists []*corev1.Pod
		play   func(o *owners)
		want   int
	}{
		"both run": {[]*corev1.Pod{pod("a", corev1.PodRunning), pod("b", corev1.PodPending)}, func(o *owners) {
			o.see(t.Context(), pod("a", corev1.PodRunning))
			o.see(t.Context(), pod("b", corev1.PodPending))
		}, 1},
		"told late that one has gone": {[]*corev1.Pod{pod("b", corev1.PodPending)}, func(o *owners) {
			o.see(t.Context(), pod("a", corev1.PodRunning))
			o.see(t.Context(), pod("b", corev1.PodPending))
		}, 0},
		"one has completed": {[]*corev1.Pod{pod("a", corev1.PodSucceeded), pod("b", corev1.PodPending)}, func(o *owners) {
			o.see(t.Context(), pod("a", corev1.PodRunning))
			o.see(t.Context(), pod("a", corev1.PodSucceeded))
			o.see(t.Context(), pod("b", corev1.PodPending))
		}, 0},
	} {
		client := fake.NewClientset()
		for _, p := range tc.exists {
			if _, err := client.CoreV1().Pods(namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		o := &owners{client: client, of: map[netip.Addr]*corev1.Pod{}}
		o.stop = o.changed.Wait
		tc.play(o)
		if got := o.end(); len(got) != tc.want {
			t.Errorf("%s: %v, want %d", name, got, tc.want)
		}
	}
}

// What an API server made or removed before its answer was lost is cleared all the same: else it passes for a leak.
func TestChurnClears(t *testing.T) {
	for name, before := range map[string]int{"made": 0, "removed": 1} {
		client := fake.NewClientset()
		c := newChurn(&harness{client: client, ctx: t.Context()}, nil)
		for range before {
			c.step(t.Context(), "service-0")
		}
		client.PrependReactor("*", "services", lostAnswer(client))
		c.step(t.Context(), "service-0")
		if c.refused != 1 || c.done != before {
			t.Errorf("%s: %d calls were carried out and %d refused, want %d and 1", name, c.done, c.refused, before)
		}
		client.ReactionChain = client.ReactionChain[1:]
		c.clear(t)
		left, err := client.CoreV1().Services(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(left.Items) > 0 {
			t.Errorf("%s: %d services are left, %v", name, len(left.Items), err)
		}
	}
}

// lostAnswer carries calls out and says that they failed.
func lostAnswer(client *fake.Clientset) clienttesting.ReactionFunc {
	return func(action clienttesting.Action) (bool, runtime.Object, error) {
		_, object, err := clienttesting.ObjectReaction(client.Tracker())(action)
		return true, object, errors.Join(err, io.ErrUnexpectedEOF)
	}
}

// What is lost without a fault is not held against one; a longer gap is.
func TestJudge(t *testing.T) {
	lost := []finding{{path: nearPath, kind: datagrams, Report: traffic.Report{Sent: 100, Lost: 3, Outage: 50 * time.Millisecond}}}
	for _, tc := range []struct {
		fault
		noise time.Duration
		want  int
	}{
		{fault{}, 0, 1},
		{fault{}, 40 * time.Millisecond, 0},
		{fault{}, 10 * time.Millisecond, 1},
		{fault{outage: time.Second}, 0, 0},
		{fault{outage: 20 * time.Millisecond}, 0, 1},
		{fault{spared: []string{outPath}}, 0, 0},
	} {
		if got := tc.judge(lost, tc.noise); len(got) != tc.want {
			t.Errorf("outage %v, spared %v, noise %v: %v", tc.outage, tc.spared, tc.noise, got)
		}
	}
}
