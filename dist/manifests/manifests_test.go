package manifests

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// policy is the admission policy for node agents.
func policy(t *testing.T) admissionv1.ValidatingAdmissionPolicySpec {
	t.Helper()
	for document := range strings.SplitSeq(Rights, "\n---\n") {
		var p admissionv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal([]byte(document), &p); err != nil {
			t.Fatal(err)
		}
		if p.Kind == "ValidatingAdmissionPolicy" && p.Name == "ovnkube-node-agents" {
			return p.Spec
		}
	}
	t.Fatal("there is no policy for node agents")
	return admissionv1.ValidatingAdmissionPolicySpec{}
}

func variable(t *testing.T, p admissionv1.ValidatingAdmissionPolicySpec, name string) string {
	t.Helper()
	i := slices.IndexFunc(p.Variables, func(v admissionv1.Variable) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("the policy has no variable %s", name)
	}
	return p.Variables[i].Expression
}

var quoted = regexp.MustCompile(`'([^']*)'`)

func strs(expression string) (out []string) {
	for _, m := range quoted.FindAllStringSubmatch(expression, -1) {
		out = append(out, m[1])
	}
	return slices.Sorted(slices.Values(out))
}

// An agent writes annotations by the names in the code, and may write those in the policy.
func TestPolicyAllowsAgentsTheirAnnotations(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(slices.Values(names.NodeAgentAnnotations())), strs(variable(t, policy(t), "own"))); diff != "" {
		t.Errorf("annotations of agents (-code +policy):\n%s", diff)
	}
}

// The policy is for those whom the signer takes for agents, and knows their nodes by the same signs.
func TestPolicyKnowsAgents(t *testing.T) {
	p := policy(t)
	if diff := cmp.Diff([]string{names.NodeAgentGroup, names.NodeServiceAccount}, strs(p.MatchConditions[0].Expression)); diff != "" {
		t.Errorf("who is an agent (-code +policy):\n%s", diff)
	}
	node := variable(t, p, "node")
	for _, want := range []string{
		fmt.Sprintf("startsWith('%s')", names.NodeAgentUserPrefix), fmt.Sprintf("substring(%d)", len(names.NodeAgentUserPrefix)),
		fmt.Sprintf("extra['%s'][0]", names.TokenNodeExtra),
	} {
		if !strings.Contains(node, want) {
			t.Errorf("the node's expression lacks %s: %s", want, node)
		}
	}
	once := slices.ContainsFunc(p.Validations, func(v admissionv1.Validation) bool {
		return strings.HasPrefix(v.Expression, fmt.Sprintf("!('%s' in variables.before)", names.NodeChassisIDAnnotation))
	})
	if !once {
		t.Errorf("nothing keeps an agent from changing %s", names.NodeChassisIDAnnotation)
	}
}
