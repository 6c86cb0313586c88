//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/census"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

func testStatefulSet(e *env) {
	client := e.start("client", onNode(e.Nodes()[1]))
	one := int32(1)
	pod := newPod(e.ns, "", onNode(e.Nodes()[0]))
	labels := map[string]string{"app": "web"}
	_, err := e.client.AppsV1().StatefulSets(e.ns).Create(e.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: e.ns},
		Spec: appsv1.StatefulSetSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec}},
	}, metav1.CreateOptions{})
	e.must(err)
	e.ready("web-0")
	now := int64(0)
	for round, o := range []metav1.DeleteOptions{{}, {GracePeriodSeconds: &now}, {GracePeriodSeconds: &now}} {
		old := e.seen.pod(e.ns, "web-0").UID
		e.must(e.client.CoreV1().Pods(e.ns).Delete(e.ctx, "web-0", o))
		took := e.until(func() string {
			p := e.seen.pod(e.ns, "web-0")
			if p == nil || p.UID == old || !isReady(p) {
				return "the new pod is not ready: " + describeNamed(p, "web-0")
			}
			return ""
		})
		p := e.seen.pod(e.ns, "web-0")
		for _, proto := range []string{icmp, tcp} {
			e.mustReach(client, e.places("web-0")[0], proto, httpPort)
		}
		if got := e.nb("--bare", "--columns=options", "find", "Logical_Switch_Port", "name="+e.ns+"_web-0"); !strings.Contains(got, string(p.UID)) {
			e.Errorf("options of the logical port are %q, without the new pod's UID %s", got, p.UID)
		}
		e.measured("StatefulSet's pod, deletion %d (forced: %v): new one ready after %v", round+1, o.GracePeriodSeconds != nil, took.Round(time.Millisecond))
	}
}

func testJobFreesAddress(e *env) {
	node := e.Nodes()[0]
	never := newPod(e.ns, "", onNode(node), func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Containers[0].Image, p.Spec.Containers[0].Args = image.Busybox, nil
		p.Spec.Containers[0].Command = []string{"sh", "-c", "ip addr show eth0"}
	})
	_, err := e.client.BatchV1().Jobs(e.ns).Create(e.ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "once", Namespace: e.ns},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: never.Spec}},
	}, metav1.CreateOptions{})
	e.must(err)
	var pod *corev1.Pod
	e.until(func() string {
		for _, p := range e.seen.podsOf(e.ns) {
			if p.Status.Phase == corev1.PodSucceeded {
				pod = p
				return ""
			}
		}
		return "no completed pod"
	})
	took := e.eventually(func() error {
		if row := e.nb("--bare", "--columns=name", "find", "Logical_Switch_Port", "name="+e.ns+"_"+pod.Name); row != "" {
			return errors.New("a completed pod keeps its logical port")
		}
		return nil
	})
	if e.seen.pod(e.ns, pod.Name) == nil {
		e.Error("the pod's object went too: nothing was shown")
	}
	e.measured("completed pod's port and address freed after %v", took.Round(time.Millisecond))
}

// annotate overwrites a pod's address as somebody with kubectl could, and returns the version of the
// object that has it.
func (e *env) annotate(pod, value string) (version string) {
	e.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{names.PodNetworksAnnotation: value}}})
	e.must(err)
	p, err := e.client.CoreV1().Pods(e.ns).Patch(e.ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{})
	e.must(err)
	return p.ResourceVersion
}

func testEditedAnnotation(e *env) {
	node := e.Nodes()[0]
	p := e.startAll(newPod(e.ns, "a", onNode(node)), newPod(e.ns, "b", onNode(node)), newPod(e.ns, "c", onNode(e.Nodes()[1])))
	value := func(pod string) string { return e.seen.pod(e.ns, pod).Annotations[names.PodNetworksAnnotation] }
	original, theft := value("a"), value("b")
	check := func(when, edited string) {
		took := e.until(func() string {
			// A watch may show the time before the edit for a moment.
			newer, err := resourceversion.CompareResourceVersion(e.seen.pod(e.ns, "a").ResourceVersion, edited)
			if v := value("a"); v != original || err != nil || newer <= 0 {
				return fmt.Sprintf("%s: annotation of a is %s, was %s", when, v, original)
			}
			return ""
		})
		e.measured("annotation edited %s: put right after %v", when, took.Round(time.Millisecond))
		e.checkAddressesUnique()
		for _, to := range p[:2] {
			e.mustReach(p[2], to, tcp, httpPort)
		}
	}
	check("by hand", e.annotate("a", theft))
	start := e.stopped(plan.Master, plan.ControlPlane)
	edited := e.annotate("a", theft)
	start()
	check("while the master was down", edited)
	// A third one must not get either address.
	e.start("d", onNode(node))
	e.checkAddressesUnique()
}

// testChurn creates and deletes 200 pods in overlapping waves; half of them are deleted by force, which
// frees the name while the old pod still runs.
func testChurn(e *env) {
	before := e.mustCensus()
	const waves, size = 10, 20
	now := int64(0)
	began := time.Now()
	for w := range waves {
		var list []string
		for i := range size {
			name := fmt.Sprintf("churn-%d", i)
			if w%2 == 0 {
				name = fmt.Sprintf("churn-%d-%d", w, i)
			}
			e.until(func() string {
				if p := e.seen.pod(e.ns, name); p != nil {
					return "the old pod is still there: " + describe(p)
				}
				return ""
			})
			e.create(newPod(e.ns, name, onNode(e.Nodes()[i%len(e.Nodes())]), pausing))
			list = append(list, name)
		}
		e.ready(list...)
		e.checkAddressesUnique()
		for i, name := range list {
			o := metav1.DeleteOptions{}
			if i%2 == 0 {
				o.GracePeriodSeconds = &now
			}
			e.must(e.client.CoreV1().Pods(e.ns).Delete(e.ctx, name, o))
		}
	}
	took := time.Since(began)
	e.untilAll(func() (int, string) {
		if left := e.seen.podsOf(e.ns); len(left) > 0 {
			return len(left), fmt.Sprintf("%d pods left, one is %s", len(left), describe(left[0]))
		}
		return 0, ""
	})
	gone := e.settle(before)
	e.measured("churn of %d pods took %.1f s; nothing left of them %.1f s after the last deletion", waves*size, took.Seconds(), gone.Seconds())
}

// settle waits until nothing is more or less than before.
func (e *env) settle(before census.Census) time.Duration {
	e.Helper()
	return e.eventually(func() error {
		now, err := e.takeCensus()
		if err != nil {
			return err
		}
		if d := now.Diff(before); d != "" {
			return errors.New(d)
		}
		return nil
	})
}

func testDensity(e *env) {
	before := e.mustCensus()
	const count = 200
	node, other := e.Nodes()[1], e.Nodes()[0]
	var list []string
	began := time.Now()
	for i := range count {
		list = append(list, fmt.Sprintf("dense-%03d", i))
		e.create(newPod(e.ns, list[i], onNode(node), pausing))
	}
	created := time.Since(began)
	e.ready(list...)
	e.measured("%d pods on one node: created in %.1f s, all ready after %.1f s", count, created.Seconds(), time.Since(began).Seconds())
	e.checkAddressesUnique()
	client := e.start("client", onNode(other))
	began = time.Now()
	e.reachAll(client, e.places(list...))
	e.measured("all %d reached from another node in %.1f s", count, time.Since(began).Seconds())
	e.reachAll(e.machine(node), e.places(list...))
	began = time.Now()
	for _, n := range append(list, "client") {
		e.must(e.client.CoreV1().Pods(e.ns).Delete(e.ctx, n, metav1.DeleteOptions{}))
	}
	e.gone(list...)
	e.measured("all %d gone after %.1f s", count, time.Since(began).Seconds())
	e.settle(before)
}

// reachAll pings many places, and exchanges a datagram and a TCP connection with each.
func (e *env) reachAll(from traffic.Place, all []traffic.Place) {
	e.Helper()
	var wg sync.WaitGroup
	work := make(chan traffic.Place)
	for range 4 {
		wg.Go(func() {
			for to := range work {
				for _, is4 := range e.families() {
					if err := e.exchange(from, to, is4); err != nil {
						e.Errorf("%s → %s: %v", from, to, err)
					}
				}
			}
		})
	}
	for _, to := range all {
		work <- to
	}
	close(work)
	wg.Wait()
}

// exchange pings once and echoes over UDP and TCP, with a server of its own.
func (e *env) exchange(from, to traffic.Place, is4 bool) error {
	ctx, cancel := context.WithTimeout(e.ctx, 3*time.Second)
	defer cancel()
	if err := traffic.Ping(ctx, from, to.Address(is4), traffic.PingOptions{}); err != nil {
		return err
	}
	echo, err := traffic.ServeEcho(to, port(to.Address(is4), 7007))
	if err != nil {
		return err
	}
	defer echo.Close()
	for _, network := range []string{tcp, udp} {
		if err := traffic.EchoOnce(ctx, from, network, echo.At, 1000); err != nil {
			return fmt.Errorf("%s: %w", network, err)
		}
	}
	return nil
}
