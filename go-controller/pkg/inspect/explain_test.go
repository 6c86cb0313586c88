package inspect

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

func TestExplain(t *testing.T) {
	v := testView(t)
	for _, object := range []string{"pod shop/web", "service shop/db", "networkpolicy shop/web-from-blue", "networkpolicy guests/no-egress", "node node1", "namespace shop"} {
		t.Run(object, func(t *testing.T) {
			kind, name, _ := strings.Cut(object, " ")
			var needs []string
			for i := range v.Objects.Policies {
				if p := &v.Objects.Policies[i]; object == "networkpolicy "+p.Namespace+"/"+p.Name {
					needs = PolicyNames(p)
				}
			}
			facts, err := Explain(v.NB, kind, name, needs...)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "explain-"+strings.NewReplacer(" ", "-", "/", "-").Replace(object), show(t, FactsResult(facts), output.Table))
		})
	}
	if _, err := Explain(v.NB, "pod", "shop/nosuch"); !errors.Is(err, ErrNothing) {
		t.Errorf("a pod that there is not: %v, want ErrNothing", err)
	}
}

// A row's UUID, and that of a logical flow as ovn-trace prints it, lead to the object.
func TestOrigin(t *testing.T) {
	v := testView(t)
	a := &inspecttest.Access{}
	for _, c := range []struct{ uuid, owner string }{
		{"55f077ec", "Isolation/shop"},                     // the flow that drops what no policy of shop allows
		{"0x9a2ba880", "NetworkPolicy/shop/web-from-blue"}, // the cookie of a flow that a rule has become
		{"40cbc82a", "Service/shop/db"},
	} {
		uuid, ok := ParseUUID(c.uuid)
		if !ok {
			t.Fatalf("%s is taken for no UUID", c.uuid)
		}
		facts, err := Origin(context.Background(), a, v.NB, uuid)
		if err != nil {
			t.Fatal(err)
		}
		var owners []string
		for _, f := range facts {
			owners = append(owners, f.Kind+"/"+f.Owner)
		}
		if owners[len(owners)-1] != c.owner {
			t.Errorf("%s leads to %v, want %s", c.uuid, owners, c.owner)
		}
		// The row that was found leads to the same.
		again, err := Origin(context.Background(), a, v.NB, facts[len(facts)-1].UUID)
		if err != nil || len(again) != 1 || again[0].Kind+"/"+again[0].Owner != c.owner {
			t.Errorf("its row leads to %v (%v), want %s", again, err, c.owner)
		}
	}
	if uuid, _ := ParseUUID("0x4d43181"); uuid != "04d43181" {
		t.Errorf("a cookie without its first zero is taken for %s", uuid)
	}
	if _, err := Origin(context.Background(), a, v.NB, "00000000"); err == nil {
		t.Error("a UUID that nothing has is explained")
	}
}

func TestParseUUID(t *testing.T) {
	for text, want := range map[string]bool{
		"55f077ec": true, "55f077ec-1111-2222-3333-444455556666": true, "0x55f077ec": true, "0x5f077ec": true, "0x0": true, "0x155f077ec": false, "0x": false, "55F077EC": true,
		"web": false, "pod": false, "55f077e": false, "deadbeef1": false, "": false,
	} {
		if _, ok := ParseUUID(text); ok != want {
			t.Errorf("%q: %v, want %v", text, ok, want)
		}
	}
}
