// Package manifests has the Kubernetes objects that every lab starts with.
package manifests

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	product "github.com/ovnkube/ovnkube/dist/manifests"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

//go:embed coredns.yaml
var coreDNS string

// Product returns what the project's components need in Kubernetes: rights, admission policies, certificate authorities.
func Product() ([]*unstructured.Unstructured, error) { return parse(product.Rights) }

// CoreDNS returns the cluster's DNS.
func CoreDNS(c *plan.Config) ([]*unstructured.Unstructured, error) {
	ips, err := json.Marshal(c.Family.DNS())
	if err != nil {
		return nil, err
	}
	return parse(strings.NewReplacer(
		"@IMAGE@", c.CoreDNSImage,
		"@API@", c.Family.ControlPlane()[0].String(),
		"@DNSLIST@", string(ips),
		"@DNS@", c.Family.DNS()[0],
	).Replace(coreDNS))
}

func parse(text string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for i, doc := range strings.Split(text, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return nil, fmt.Errorf("manifest document %d: %w", i+1, err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
	return out, nil
}
