package conformance

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// zones is how many the specs about topology want.
const zones = 3

// LabelZones puts the nodes into three zones in turn, which specs about topology need.
func LabelZones(ctx context.Context, client kubernetes.Interface, nodes []string) error {
	for i, node := range nodes {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:"zone%d"}}}`, corev1.LabelTopologyZone, i%zones+1)
		_, err := client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("zone of node %s: %w", node, err)
		}
	}
	return nil
}
