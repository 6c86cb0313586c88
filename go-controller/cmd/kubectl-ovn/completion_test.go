package main

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// Names are completed in the namespace that was typed, and written as they have to be.
func TestCompletion(t *testing.T) {
	c := completer{fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "guests", Name: "client"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}},
	), "shop"}
	ctx := context.Background()
	for _, k := range []struct {
		name      string
		got, want []string
	}{
		{"pods", c.of(ctx, "pod", "", ""), []string{"web"}},
		{"pods of another namespace", c.of(ctx, "pod", "", "guests/"), []string{"guests/client"}},
		{"KIND/", c.of(ctx, "service", "service/", "service/w"), []string{"service/web"}},
		{"a source", c.end(ctx, false, ""), []string{"web", "node/"}},
		{"a destination", c.end(ctx, true, ""), []string{"web", "node/", "service/"}},
		{"a node", c.end(ctx, true, "node/"), []string{"node/node1"}},
		{"a pod elsewhere", c.end(ctx, true, "pod/guests/c"), []string{"pod/guests/client"}},
		{"of a kind that cannot be listed", c.of(ctx, "planet", "", ""), nil},
	} {
		if diff := cmp.Diff(k.want, k.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k.name, diff)
		}
	}
}
