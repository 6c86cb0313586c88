package master

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
)

type (
	ownerKey    = nbstate.Owner
	desiredRows = nbstate.Desired
)

func TestPodIsServedWhenItsNodeIs(t *testing.T) {
	for name, nodeFirst := range map[string]bool{"node first": true, "pod first": false} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t, "10.128.0.0/14/23", "fd01::/48/64")
			h.start()
			if nodeFirst {
				h.addNode("a")
				h.settle()
			}
			h.addPod("p", "a")
			h.settle()
			h.addNode("a")
			h.settle()
			h.want("annotation", h.addressOf("p"), "10.128.0.3 fd01::3")
			if !strings.HasPrefix(h.portOf("p"), "10.128.0.3 fd01::3 on a for uid-") {
				t.Errorf("port %s", h.portOf("p"))
			}
			h.wantEvents()
		})
	}
}

func TestAnnotationDoesNotWaitForTheDatabase(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	h.settle()
	h.addPod("p", "a")
	h.allocate()
	h.annotate()
	h.want("annotation before any commit", h.addressOf("p"), "10.128.0.3")
	h.want("port", h.portOf("p"), "none")
}

// A pod whose author has chosen an address gets a port when the annotation is put right: until then its node's agent would go by the author's.
func TestPortWaitsForTheRightAnnotation(t *testing.T) {
	for _, text := range []string{networkText("192.0.2.7/24"), networkText("10.128.0.3/23"), "nonsense"} {
		h := newTest(t)
		h.addNode("a")
		h.addPod("other", "a")
		h.start()
		h.settle()
		h.addPod("p", "a")
		h.changePod("p", func(p *kube.Pod) { p.Network = text })
		h.allocate()
		h.commit()
		h.want("port before the annotation is right, "+text, h.portOf("p"), "none")
		h.settle()
		h.want("address", h.addressOf("p"), "10.128.0.4")
		if h.portOf("p") == "none" {
			t.Errorf("%s: no port in the end", text)
		}
	}
}

func TestUnservedPods(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.addPod("host", "a")
	h.changePod("host", func(p *kube.Pod) { p.HostNetwork = true })
	h.addPod("done", "a")
	h.changePod("done", func(p *kube.Pod) { p.Finished = true })
	h.addPod("unscheduled", "")
	h.start()
	h.settle()
	for _, p := range []string{"host", "done", "unscheduled"} {
		if h.addressOf(p) != "none" || h.portOf(p) != "none" {
			t.Errorf("%s has %s and port %s", p, h.addressOf(p), h.portOf(p))
		}
	}
	if got := h.engine.ledger.addresses(); got != 0 {
		t.Errorf("%d addresses are taken", got)
	}
}

// A /29 has four addresses for pods: .3 to .6.
const tiny = "10.128.0.0/16/29"

func TestAddressIsFreeOnlyWhenThePortIsGone(t *testing.T) {
	for name, end := range map[string]func(*harness){
		"deleted":   func(h *harness) { h.deletePod("p0") },
		"completed": func(h *harness) { h.changePod("p0", func(p *kube.Pod) { p.Finished = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t, tiny)
			h.addNode("a")
			h.start()
			for i := range 4 {
				h.addPod(fmt.Sprintf("p%d", i), "a")
			}
			h.settle()
			address := h.addressOf("p0")
			end(h)
			h.addPod("next", "a")
			h.allocate()
			h.annotate()
			h.want("next while the old port exists", h.addressOf("next"), "none")
			h.wantEvents("PodAddressesExhausted ns/next")
			h.settle()
			h.want("old port", h.portOf("p0"), "none")
			h.want("next after the old port is gone", h.addressOf("next"), address)
			if len(h.engine.held) != 0 || h.engine.waiting.len() != 0 {
				t.Errorf("left over: held %v waiting %d", h.engine.held, h.engine.waiting.len())
			}
		})
	}
}

func TestLateResultDoesNotFreeAnAddress(t *testing.T) {
	h := newTest(t, tiny)
	h.addNode("a")
	h.start()
	h.settle()
	h.addPod("p", "a")
	h.allocate()
	written := h.store.Generation(podOwner("ns/p"))
	h.deletePod("p")
	h.allocate()
	// The write of the port was under way when the pod went; its result comes in now.
	h.engine.onResult(nbsync.Result{Owner: podOwner("ns/p"), Generation: written})
	h.allocate()
	if got := h.engine.ledger.addresses(); got != 1 {
		t.Fatalf("%d addresses taken, want 1: the port is still there", got)
	}
	h.settle()
	if got := h.engine.ledger.addresses(); got != 0 {
		t.Errorf("%d addresses taken after the port is gone", got)
	}
}

func TestSameNameCreatedAgain(t *testing.T) {
	for name, seenGone := range map[string]bool{"deletion seen": true, "deletion and creation in one": false} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t)
			h.addNode("a")
			h.addNode("b")
			h.addPod("web-0", "a")
			h.start()
			h.settle()
			first := h.portOf("web-0")
			for _, node := range []string{"a", "b", "b", "a"} {
				if seenGone {
					h.deletePod("web-0")
					h.allocate()
				}
				h.addPod("web-0", node)
				h.allocate()
				h.annotate()
				p, _ := h.pods.Get("ns/web-0")
				h.settle()
				h.want("port", h.portOf("web-0"), fmt.Sprintf("%s on %s for %s", h.addressOf("web-0"), node, p.UID))
				if got := h.engine.ledger.addresses(); got != 1 {
					t.Errorf("%d addresses taken, want 1", got)
				}
			}
			if h.portOf("web-0") == first {
				t.Errorf("port is still %s", first)
			}
			h.wantEvents()
		})
	}
}

func TestPodAnnotatedByAnotherMaster(t *testing.T) {
	h := newTest(t)
	h.addNode("a", "10.128.0.0/23")
	text := `{"default":{"ip_addresses":["10.128.0.77/23"],"mac_address":"0A:58:0a:80:00:4d","gateway_ips":["10.128.0.1"],` +
		`"routes":[{"dest":"172.30.0.0/16","nextHop":"10.128.0.1"}],"ip_address":"10.128.0.77/23","gateway_ip":"10.128.0.1"}}`
	h.addPod("p", "a")
	h.changePod("p", func(p *kube.Pod) { p.Network = text })
	h.addPod("q", "a")
	h.start()
	h.settle()
	if p, _ := h.pods.Get("ns/p"); p.Network != text {
		t.Errorf("annotation was rewritten: %s", p.Network)
	}
	if !strings.HasPrefix(h.portOf("p"), "10.128.0.77 on a") {
		t.Errorf("port %s, want the annotated address", h.portOf("p"))
	}
	h.wantEvents()
}

func TestTwoPodsAnnotatedWithOneAddress(t *testing.T) {
	h := newTest(t)
	h.addNode("a", "10.128.0.0/23")
	h.addPod("older", "a", "10.128.0.9/23")
	h.addPod("younger", "a", "10.128.0.9/23")
	h.start()
	h.settle()
	h.want("older", h.addressOf("older"), "10.128.0.9")
	if got := h.addressOf("younger"); got == "10.128.0.9" || got == "none" {
		t.Errorf("younger has %s", got)
	}
	h.wantEvents("PodNetworkReplaced ns/younger")
}

func TestUnusablePodAnnotations(t *testing.T) {
	for name, text := range map[string]string{
		"unreadable": "{", "other subnet": networkText("10.128.2.5/23"), "router's": networkText("10.128.0.1/23"),
		"management port's": networkText("10.128.0.2/23"), "broadcast": networkText("10.128.1.255/23"),
		"two of a family": networkText("10.128.0.5/23", "10.128.0.6/23"),
		"foreign MAC":     strings.Replace(networkText("10.128.0.5/23"), "0a:58", "0a:59", 1),
	} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t)
			h.addNode("a", "10.128.0.0/23")
			h.start()
			h.addPod("p", "a")
			h.changePod("p", func(p *kube.Pod) { p.Network = text })
			h.settle()
			h.want("address", h.addressOf("p"), "10.128.0.3")
			h.wantEvents("PodNetworkReplaced ns/p")
		})
	}
}

func TestAnnotationEditedByHand(t *testing.T) {
	h := newTest(t)
	h.addNode("a", "10.128.0.0/23")
	h.addPod("p", "a")
	h.start()
	h.settle()
	h.addPod("q", "a")
	h.settle()
	port := h.portOf("q")
	for _, text := range []string{networkText("10.128.0.3/23"), networkText("10.128.0.200/23"), "", "nonsense"} {
		h.changePod("q", func(p *kube.Pod) { p.Network = text })
		h.settle()
		h.want("address after "+text, h.addressOf("q"), "10.128.0.4")
		h.want("port after "+text, h.portOf("q"), port)
	}
	h.wantEvents("PodNetworkReplaced ns/q", "PodNetworkReplaced ns/q", "PodNetworkReplaced ns/q")

	// While no master looks, too: the row is the truth.
	h.changePod("q", func(p *kube.Pod) { p.Network = networkText("10.128.0.3/23") })
	h.changePod("p", func(p *kube.Pod) { p.Network = networkText("10.128.0.4/23") })
	h.start()
	h.settle()
	h.want("p", h.addressOf("p"), "10.128.0.3")
	h.want("q", h.addressOf("q"), "10.128.0.4")
	h.want("q's port", h.portOf("q"), port)
}

func TestFullSubnetServesTheOldestWaitingPodFirst(t *testing.T) {
	h := newTest(t, tiny)
	h.addNode("a")
	h.start()
	for i := range 4 {
		h.addPod(fmt.Sprintf("p%d", i), "a")
	}
	h.settle()
	h.addPod("older", "a")
	h.addPod("younger", "a")
	h.settle()
	h.wantEvents("PodAddressesExhausted ns/older", "PodAddressesExhausted ns/younger")
	h.deletePod("p2")
	h.settle()
	if h.addressOf("older") == "none" || h.addressOf("younger") != "none" {
		t.Errorf("older has %s, younger has %s", h.addressOf("older"), h.addressOf("younger"))
	}
	h.deletePod("older")
	h.settle()
	if h.addressOf("younger") == "none" {
		t.Error("younger was not served")
	}
}

func TestRefusedRowsAreTold(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	h.settle()
	h.db.refuse[podOwner("ns/p")] = errors.New("constraint violation")
	h.addPod("p", "a")
	h.addPod("q", "a")
	h.allocate()
	h.commit()
	h.allocate()
	h.wantEvents("NorthboundWriteFailed ns/p")
	if h.portOf("q") == "none" {
		t.Error("another pod was held up")
	}
}

func TestPatchForAFormerPod(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	h.settle()
	h.addPod("p", "a")
	h.allocate()
	h.addPod("p", "a") // Another incarnation, before the first one's patch.
	if err := h.engine.annotator.annotate(t.Context(), key{podKey, "ns/p"}); err != nil {
		t.Errorf("a patch that is refused for good is to be tried again: %v", err)
	}
	h.want("annotation of the new pod", h.addressOf("p"), "none")
	h.settle()
	p, _ := h.pods.Get("ns/p")
	h.want("port", h.portOf("p"), fmt.Sprintf("%s on a for %s", h.addressOf("p"), p.UID))
}

func TestRestartOverAnUnchangedClusterWantsTheSame(t *testing.T) {
	h := newTest(t, "10.128.0.0/14/23", "fd01::/48/64")
	for i := range 5 {
		node := fmt.Sprintf("n%d", i)
		h.addNode(node)
		h.annotateNode(node, map[string]string{names.HostCIDRsAnnotation: fmt.Sprintf(`["172.18.0.%d/24","172.17.0.1/16"]`, i)})
		for j := range 10 {
			h.addPod(fmt.Sprintf("p%d-%d", i, j), node)
		}
	}
	h.start()
	h.settle()
	h.deletePod("p2-3")
	h.settle()
	before := h.db.rows
	h.db.rows = map[ownerKey]desiredRows{}
	for owner, d := range before {
		h.db.rows[owner] = d
	}
	h.start()
	h.engine.annotator.patcher = nil // Any patch would panic.
	h.settle()
	if diff := cmp.Diff(before, h.db.rows); diff != "" {
		t.Errorf("the new master wants something else (-old +new):\n%s", diff)
	}
	if len(h.gone) != 0 {
		t.Errorf("chassis to delete: %v", h.gone)
	}
	h.wantEvents()
}

func TestLeftOverPortHoldsItsAddress(t *testing.T) {
	h := newTest(t, tiny)
	h.addNode("a")
	for i := range 4 {
		h.addPod(fmt.Sprintf("p%d", i), "a")
	}
	h.start()
	h.settle()
	address := h.addressOf("p1")
	h.deletePod("p1") // While no master looks.
	h.addPod("next", "a")
	h.start()
	h.allocate()
	h.annotate()
	h.want("next while the left-over port exists", h.addressOf("next"), "none")
	h.settle()
	h.want("left-over port", h.portOf("p1"), "none")
	h.want("next", h.addressOf("next"), address)
}

func TestNothingIsPrunedBeforeAllHasBeenLookedAt(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	for i := range 20 {
		h.addPod(fmt.Sprintf("p%d", i), "a")
	}
	h.start()
	h.settle()
	owners := len(h.db.rows)
	h.start()
	h.prune()
	if len(h.db.rows) != owners {
		t.Fatalf("%d owners have rows, want %d: something was pruned at once", len(h.db.rows), owners)
	}
	h.allocate()
	h.prune()
	if len(h.db.rows) != owners {
		t.Errorf("%d owners have rows, want %d: everything is wanted by now", len(h.db.rows), owners)
	}
}

func TestReadinessSeesAStalledDatabase(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	if err := h.engine.progress.problem(time.Now()); err == nil {
		t.Error("ready before anything was looked at")
	}
	h.allocate()
	if err := h.engine.progress.problem(time.Now()); err != nil {
		t.Errorf("not ready while the database works: %v", err)
	}
	if err := h.engine.progress.problem(time.Now().Add(stalledAfter + time.Second)); err == nil {
		t.Error("ready although no write was answered")
	}
	h.settle()
	if err := h.engine.progress.problem(time.Now().Add(time.Hour)); err != nil {
		t.Errorf("not ready although nothing is due: %v", err)
	}
}
