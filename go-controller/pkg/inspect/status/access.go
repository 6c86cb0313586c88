package status

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// notAllowed is what to do about an error that is about who looks, and from where, and so tells nothing of the network; else it is empty.
func (f *facts) notAllowed(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("the right to pods/exec in namespace %s is needed, or --access", f.namespace)
	case errors.Is(err, access.ErrNoPod) && !f.hasPods():
		return fmt.Sprintf("namespace %s has no pods of the network: give --ovn-namespace or --access, or install it", f.namespace)
	}
	return ""
}

// hasPods tells whether the network runs, or should, as pods of its namespace.
func (f *facts) hasPods() bool {
	return slices.ContainsFunc(f.view.Objects.Pods, func(p corev1.Pod) bool {
		return p.Namespace == f.namespace && p.Labels[names.PodNameLabel] == names.PodName
	})
}
