package master

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// patchRecorder is an API server that takes its time: patches end with their context, or with answer.
type patchRecorder struct {
	patches []map[string]string
	given   int // up before they were answered
	answer  chan struct{}
}

func (p *patchRecorder) PatchPod(ctx context.Context, _ kube.Ref, set map[string]string) error {
	p.patches = append(p.patches, set)
	select {
	case <-p.answer:
		return nil
	case <-ctx.Done():
		p.given++
		return ctx.Err()
	}
}

func (p *patchRecorder) PatchNode(ctx context.Context, ref kube.Ref, set map[string]string) error {
	return p.PatchPod(ctx, ref, set)
}

// While the Lease may be another's nothing is patched, and a patch that is under way is given up. What is patched afterwards is what is wanted then.
func TestAnnotationsWaitForTheLease(t *testing.T) {
	for name, kind := range map[string]keyKind{"pod": podKey, "node": nodeKey} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				tenure := newTenure(time.Now(), time.Second, newMetrics(nil).leader)
				defer tenure.end()
				p := &patchRecorder{answer: make(chan struct{}, 9)}
				a := newAnnotator(p, nil, func(key, kube.Ref) map[string]string { return map[string]string{} }, func(key) {})
				a.whileHeld = tenure.whileHeld
				ended := make(chan struct{})
				go func() { a.worker.Run(ctx, 2); close(ended) }()
				set := func(name, value string) {
					a.want(key{kind, name}, kube.Ref{Name: name}, map[string]string{"a": value})
					synctest.Wait()
				}
				set("x", "under way")
				time.Sleep(time.Minute) // The Lease is lost.
				set("y", "old")
				set("z", "never")
				if len(p.patches) != 1 || p.given != 1 {
					t.Fatalf("patches %v, %d of them given up", p.patches, p.given)
				}
				set("y", "new")
				a.forget(key{kind, "x"})
				a.forget(key{kind, "z"})
				p.answer <- struct{}{}
				tenure.renew(time.Now())
				synctest.Wait()
				if len(p.patches) != 2 || p.patches[1]["a"] != "new" {
					t.Errorf("patches %v, want what is wanted now, once", p.patches)
				}
				stop()
				<-ended
			})
		})
	}
}

// Who cannot reach the API server does not know that a former node is a node again.
func TestJanitorWaitsForTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := &fakeChassis{chassis: map[string][]chassis{"back": {{name: "back", ours: true}}, "gone": {{name: "gone", ours: true}}}}
		tenure := newTenure(time.Now(), time.Second, newMetrics(nil).leader)
		defer tenure.end()
		j := startJanitor(t, sb, tenure.whileHeld)
		time.Sleep(time.Hour)
		if got := sb.names(); len(got) != 2 {
			t.Errorf("chassis %v: one was deleted without the Lease", got)
		}
		j.nodes.Put(&kube.Node{Name: "back"})
		for range 600 {
			tenure.renew(time.Now())
			time.Sleep(500 * time.Millisecond)
		}
		if got := sb.names(); len(got) != 1 || got[0] != "back" {
			t.Errorf("chassis %v, want that of the node", got)
		}
	})
}
