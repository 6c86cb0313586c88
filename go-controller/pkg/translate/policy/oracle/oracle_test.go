package oracle

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// addresses of the ends that the cases name.
var addresses = map[string]string{
	"a/web": "10.0.1.3", "a/web2": "10.0.2.3", "a/db": "10.0.1.4", "b/client": "10.0.2.4", "b/host": "172.18.0.11", "a/done": "10.0.1.9",
	"n1": "10.0.1.2", "n2": "10.0.2.2", "world": "192.0.2.200", "world6": "2001:db8::1",
}

// testCluster is two namespaces on two nodes. The port "http" is another one on each of the web pods.
func testCluster() *Cluster {
	c := &Cluster{Namespaces: map[string]*corev1.Namespace{}, Pods: map[string]*corev1.Pod{}, Policies: map[string]*networkingv1.NetworkPolicy{}}
	for name, team := range map[string]string{"a": "blue", "b": "red"} {
		c.Namespaces[name] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": team}}}
	}
	add := func(key, node, app string, change func(*corev1.Pod)) {
		namespace, name, _ := strings.Cut(key, "/")
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}}}
		p.Spec.NodeName, p.Spec.Containers = node, []corev1.Container{{}}
		change(p)
		c.Pods[key] = p
	}
	ports := func(list ...corev1.ContainerPort) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[0].Ports = list }
	}
	add("a/web", "n1", "web", ports(corev1.ContainerPort{Name: "http", ContainerPort: 80}, corev1.ContainerPort{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP}))
	add("a/web2", "n2", "web", func(p *corev1.Pod) {
		always := corev1.ContainerRestartPolicyAlways
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}, {Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8081}}}}
		p.Spec.InitContainers = []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 1}}},
			{RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 2}}},
		}
	})
	add("a/db", "n1", "db", ports())
	add("b/client", "n2", "client", ports())
	add("b/host", "n1", "client", func(p *corev1.Pod) { p.Spec.HostNetwork = true })
	add("a/done", "n1", "web", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	return c
}

func end(name string) End {
	e := End{Address: netip.MustParseAddr(addresses[name])}
	switch {
	case strings.Contains(name, "/"):
		e.Pod = name
	case strings.HasPrefix(name, "n"):
		e.Node = name
	}
	return e
}

// flow reads "FROM TO PORT[/PROTOCOL]".
func flow(text string) Flow {
	f := strings.Fields(text)
	port, protocol, ok := strings.Cut(f[2], "/")
	if !ok {
		protocol = "TCP"
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	return Flow{From: end(f[0]), To: end(f[1]), Protocol: corev1.Protocol(protocol), Port: uint16(n)}
}

// The recipes that the documentation of Kubernetes gives, and what its types' comments say of the rest.
func TestRecipes(t *testing.T) {
	for _, c := range []struct {
		name     string
		policies []string // specs of policies in namespace a
		allow    string   // flows, separated by commas
		deny     string
	}{{
		name:  "no policy: everything",
		allow: "b/client a/web 80, world a/web 1/SCTP, a/web world 1, n2 a/web 1, a/web b/client 5/UDP",
	}, {
		name:     "default deny ingress",
		policies: []string{`{podSelector: {}, policyTypes: [Ingress]}`},
		allow:    "a/web world 1, a/web b/client 1, n1 a/web 80, b/host a/web 80, a/web a/web 80, b/client b/host 1, a/web n1 10250",
		deny:     "b/client a/web 80, a/db a/web 80, n2 a/web 80, world a/web 80/UDP, b/host a/web2 80",
	}, {
		name:     "all ingress",
		policies: []string{`{podSelector: {}, policyTypes: [Ingress]}`, `{podSelector: {}, ingress: [{}], policyTypes: [Ingress]}`},
		allow:    "b/client a/web 80, world a/web 80/SCTP, n2 a/web 1",
	}, {
		name:     "default deny egress; of the node, only ingress is exempt",
		policies: []string{`{podSelector: {}, policyTypes: [Egress]}`},
		allow:    "b/client a/web 80, a/web a/web 80, b/client world 1, a/done world 1",
		deny:     "a/web world 1, a/web b/client 80, a/web n1 10250, a/web b/host 80, a/db a/web 80",
	}, {
		name:     "types default to Ingress, and Egress where there are such rules",
		policies: []string{`{podSelector: {matchLabels: {app: web}}}`, `{podSelector: {matchLabels: {app: db}}, egress: [{ports: [{port: 53, protocol: UDP}]}]}`},
		allow:    "a/web world 1, a/db world 53/UDP, n1 a/db 1",
		deny:     "b/client a/web 80, b/client a/db 80, a/db world 53, a/db world 54/UDP",
	}, {
		name:     "pods of the own namespace",
		policies: []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}`},
		allow:    "a/db a/web 80, a/web2 a/web 80",
		deny:     "b/client a/web 80, a/done a/web 80, world a/web 80, n2 a/web 80",
	}, {
		name:     "namespaces by label",
		policies: []string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}]}]}`},
		allow:    "b/client a/web 80",
		deny:     "a/db a/web 80, world a/web 80, b/host a/web2 80",
	}, {
		name:     "namespaces by name",
		policies: []string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [b]}]}}]}]}`},
		allow:    "b/client a/web 80",
		deny:     "a/db a/web 80",
	}, {
		name:     "selectors of one peer are ANDed, those of two ORed",
		policies: []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: client}}}]}]}`, `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}, {podSelector: {matchLabels: {app: web}}}]}]}`},
		allow:    "b/client a/db 80, a/web a/db 80",
		deny:     "b/client a/web 80, a/db a/web 80",
	}, {
		name:     "empty namespaceSelector: all pods, but nobody else",
		policies: []string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`},
		allow:    "b/client a/web 80, a/db a/web 80",
		deny:     "world a/web 80, b/host a/web2 80, n1 a/web2 80",
	}, {
		name:     "expressions",
		policies: []string{`{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: Exists}, {key: tier, operator: DoesNotExist}]}}]}]}`},
		allow:    "b/client a/db 80, a/db a/web 80",
		deny:     "b/client a/web 80",
	}, {
		name:     "ports and peers are ANDed, ports ORed; a port without a number is all of the protocol",
		policies: []string{`{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}, {protocol: UDP}]}]}`},
		allow:    "a/db a/web 80, a/db a/web 53/UDP, a/db a/web 1/UDP",
		deny:     "a/db a/web 81, b/client a/web 80, a/db a/web 80/SCTP",
	}, {
		name:     "range",
		policies: []string{`{podSelector: {}, egress: [{ports: [{port: 32000, endPort: 32768}, {port: 8, endPort: 8, protocol: SCTP}]}]}`},
		allow:    "a/web world 32000, a/web world 32768, a/web b/client 32500, a/web world 8/SCTP",
		deny:     "a/web world 31999, a/web world 32769, a/web world 32000/UDP, a/web world 9/SCTP",
	}, {
		name:     "a name is another port on each pod that is connected to",
		policies: []string{`{podSelector: {}, ingress: [{ports: [{port: http}, {port: dns, protocol: UDP}, {port: admin}]}]}`},
		allow:    "b/client a/web 80, b/client a/web2 8080, b/client a/web 53/UDP, b/client a/web2 2",
		deny:     "b/client a/web2 8081, b/client a/web2 1, b/client a/web 8080, b/client a/web2 80, b/client a/web2 53/UDP, b/client a/web 80/UDP, b/client a/db 80",
	}, {
		name:     "… and none outside, nor on pods without it",
		policies: []string{`{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`},
		allow:    "a/db a/web 80, a/db a/web2 8080",
		deny:     "a/db a/web 8080, a/db world 80, a/db b/client 80, a/db b/host 80, a/db a/done 80",
	}, {
		name:     "a name that no pod has matches nothing",
		policies: []string{`{podSelector: {}, ingress: [{ports: [{port: nosuch}]}]}`},
		deny:     "b/client a/web 80, b/client a/web 53/UDP, world a/db 1",
	}, {
		name:     "block with exceptions",
		policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.192/28]}}, {ipBlock: {cidr: 10.0.2.4/32}}]}]}`},
		allow:    "a/web b/client 80",
		deny:     "a/web world 80, a/web world6 80, a/web a/web2 80",
	}, {
		name:     "an exception from one block is none from another",
		policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [192.0.2.200/32]}}, {ipBlock: {cidr: 192.0.2.0/24}}]}]}`},
		allow:    "a/web world 80, a/web n1 80",
		deny:     "a/web world6 80",
	}, {
		name:     "the other family",
		policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: "::/0"}}]}]}`},
		allow:    "a/web world6 80",
		deny:     "a/web world 80",
	}, {
		name:     "what makes no sense allows nothing",
		policies: []string{`{podSelector: {}, ingress: [{from: [{}]}, {from: [{ipBlock: {cidr: nonsense}}]}, {from: [{ipBlock: {cidr: 0.0.0.0/0, except: [x]}}]}, {ports: [{endPort: 90}]}, {ports: [{port: http, endPort: 90}]}, {from: [{ipBlock: {cidr: 0.0.0.0/0}, podSelector: {}}]}, {ports: [{port: 90, endPort: 80}]}, {from: [{podSelector: {matchExpressions: [{key: app, operator: Near}]}}]}]}`},
		deny:     "b/client a/web 80, a/db a/web 85, world a/web 80, a/db a/web 90",
	}} {
		t.Run(c.name, func(t *testing.T) {
			cluster := testCluster()
			for i, spec := range c.policies {
				p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprint("p", i)}}
				if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
					t.Fatal(err)
				}
				cluster.Policies[Key("a", p.Name)] = p
			}
			for want, list := range map[bool]string{true: c.allow, false: c.deny} {
				for text := range strings.SplitSeq(list, ",") {
					if text = strings.TrimSpace(text); text == "" {
						continue
					}
					if got := cluster.Judge(flow(text)); got.Allowed != want {
						t.Errorf("%s: allowed %v, want %v (%s)", text, got.Allowed, want, got.Why)
					}
				}
			}
		})
	}
}
