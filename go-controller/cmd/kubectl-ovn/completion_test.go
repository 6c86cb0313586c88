package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
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
		{"a node", c.end(ctx, true, "node/"), []string{"node/node1", "node/node2"}},
		{"a pod elsewhere", c.end(ctx, true, "pod/guests/c"), []string{"pod/guests/client"}},
		{"nodes, of a list", c.nodes(ctx, "node1,"), []string{"node1,node2"}},
		{"a list's first node", c.nodes(ctx, "no"), []string{"node1", "node2"}},
		{"namespaces", c.namespaces(ctx, ""), []string{"shop"}},
		{"of a kind that cannot be listed", c.of(ctx, "planet", "", ""), nil},
	} {
		if diff := cmp.Diff(k.want, k.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k.name, diff)
		}
	}
}

// What is a file is completed as such; of everything else there are words.
func TestFlagsComplete(t *testing.T) {
	without := map[string]bool{ // Files, numbers, times, switches and texts of the user's own.
		"kubeconfig": true, "help": true, "output of bundle": true, "max-size": true, "junit": true, "filename": true, "image": true, "nodes of check": true,
		"outside": true, "patience": true, "timeout": true, "cluster-subnets": true, "k8s-service-cidrs": true,
	}
	var all func(*cobra.Command)
	all = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if _, ok := cmd.GetFlagCompletionFunc(f.Name); ok == (without[f.Name] || without[f.Name+" of "+cmd.Name()] || f.Value.Type() == "bool") {
				t.Errorf("%s --%s: is completed: %v", cmd.CommandPath(), f.Name, ok)
			}
		})
		for _, sub := range cmd.Commands() {
			all(sub)
		}
	}
	all(newRoot())
}

// Contexts are those of the kubeconfig file.
func TestContexts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("contexts: [{name: two, context: {}}, {name: one, context: {}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, (&globals{kubeconfig: file}).contexts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
