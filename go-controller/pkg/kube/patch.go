package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// acceptMetadata asks for the object's metadata only: the answer to a patch is not looked at.
const acceptMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// NewPatcher patches through clients in turn, at least one.
func NewPatcher(clients ...corev1.CoreV1Interface) Patcher { return &patcher{clients: clients} }

type patcher struct {
	clients []corev1.CoreV1Interface
	next    atomic.Uint32
}

type metadataPatch struct {
	Metadata struct {
		UID         types.UID         `json:"uid,omitempty"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// PatchPod implements Patcher.
func (p *patcher) PatchPod(ctx context.Context, ref Ref, annotations map[string]string) error {
	return p.patch(ctx, "pods", ref, annotations)
}

// PatchNode implements Patcher.
func (p *patcher) PatchNode(ctx context.Context, ref Ref, annotations map[string]string) error {
	return p.patch(ctx, "nodes", ref, annotations)
}

// patch goes to the status, through which annotations can be changed too: the API server then need not validate the
// whole specification again, and the right to change specifications is not needed.
func (p *patcher) patch(ctx context.Context, resource string, ref Ref, annotations map[string]string) error {
	var body metadataPatch
	// A UID cannot be changed: another object of the same name refuses the patch.
	body.Metadata.UID = ref.UID
	body.Metadata.Annotations = annotations
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the patch of %s: %w", ref, err)
	}
	client := p.clients[int(p.next.Add(1))%len(p.clients)]
	err = client.RESTClient().Patch(types.StrategicMergePatchType).
		NamespaceIfScoped(ref.Namespace, ref.Namespace != "").
		Resource(resource).Name(ref.Name).SubResource("status").
		SetHeader("Accept", acceptMetadata).
		Body(data).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("patching annotations of %s: %w", ref, err)
	}
	return nil
}
