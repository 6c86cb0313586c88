package conformance

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// The suite wants three zones with at least two nodes each.
func TestLabelZones(t *testing.T) {
	client := fake.NewClientset()
	var nodes []string
	for i := range 6 {
		nodes = append(nodes, fmt.Sprint("node", i+1))
		_, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodes[i]}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := LabelZones(t.Context(), client, nodes); err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]int{}
	for _, node := range list.Items {
		members[node.Labels["topology.kubernetes.io/zone"]]++
	}
	if len(members) != 3 || members["zone1"] != 2 || members["zone2"] != 2 || members["zone3"] != 2 {
		t.Errorf("zones %v", members)
	}
}
