package status

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// refusing runs nothing.
type refusing struct{ err error }

func (r refusing) Run(context.Context, access.Place, access.Streams, ...string) error { return r.err }

// Who may not look, or looks where the network is not, learns nothing of it: that is no failure of the network.
func TestNotAllowed(t *testing.T) {
	forbidden := fmt.Errorf("exec: %w", apierrors.NewForbidden(corev1.Resource("pods"), "ovnkube-db-0", nil))
	noPod := fmt.Errorf("%w runs", access.ErrNoPod)
	ours := agent("a", "node1", corev1.ContainerState{})
	elsewhere := ours
	elsewhere.Namespace = "other"
	for _, c := range []struct {
		name  string
		err   error
		pod   corev1.Pod
		state State
		next  string
	}{
		{"no right", forbidden, ours, Unknown, "the right to pods/exec in namespace " + names.Namespace},
		{"no pods of the network", noPod, elsewhere, Unknown, "--ovn-namespace"},
		{"no pod of the database, others of the network", noPod, ours, Failed, "see that its server runs"},
		{"the server does not answer", &access.ExitError{Argv: []string{"sh"}, Code: 1}, elsewhere, Failed, "see that its server runs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.objects.Pods = append(w.objects.Pods, c.pod)
			w.refused = c.err
			r := w.read(t)
			if r.State != c.state {
				t.Errorf("the whole is %s, want %s", r.State, c.state)
			}
			for _, f := range r.Findings[:2] { // The databases.
				if f.State != c.state || !strings.Contains(f.Next, c.next) {
					t.Errorf("%+v, want %s, next %q", f, c.state, c.next)
				}
			}
		})
	}
}
