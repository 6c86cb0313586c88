// Package chart tests the Helm chart dist/helm/ovnkube and renders the files in dist/manifests from it.
package chart

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/strvals"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

var update = flag.Bool("update", false, "write what is rendered to the files")

const (
	source    = "../../dist/helm/ovnkube"
	manifests = "../../dist/manifests"
)

// placeholder stands, in ovnkube.yaml, for the only control-plane node of a cluster of kubeadm's.
const placeholder = "192.0.2.1"

func placeholders() []string {
	return []string{"k8s.apiServer=https://" + placeholder + ":6443", "network.serviceCIDRs={10.96.0.0/12}", "databases.addresses={" + placeholder + "}"}
}

// large is a cluster with everything that can be had.
func large() []string {
	return []string{
		"k8s.apiServer=https://[fd00:10::100]", "network.clusterSubnets={10.128.0.0/14/23,fd01::/48/64}", "network.serviceCIDRs={172.30.0.0/16,fd02::/112}",
		"databases.addresses={fd00:10::1,fd00:10::2,fd00:10::3}", "network.noSNATCIDRs={192.0.2.0/24,2001:db8::/32}", "network.gatewayMode=local",
		"node.gatewayInterface=eth1", "node.gatewayNextHops={192.0.2.1,fd00:10::fe}", "node.netfilter=iptables", "node.monitorAll=false",
		"node.extraArgs={--encap-ip=192.0.2.9}", "master.extraArgs={--acl-logging-rate-limit=5}", "ovs.image=example.net/ovs:3.5", "ovs.datapathType=system",
		"image.tag=v9", "image.pullSecrets={registry}", "monitoring.podMonitors=true", "monitoring.rules=true", "monitoring.labels.release=prometheus",
	}
}

// render returns what helm would apply for settings as those of --set.
func render(namespace string, settings ...string) (string, error) {
	loaded, err := loader.Load(source)
	if err != nil {
		return "", err
	}
	values := map[string]any{}
	for _, s := range settings {
		if err := strvals.ParseInto(s, values); err != nil {
			return "", err
		}
	}
	install := action.NewInstall(&action.Configuration{})
	install.DryRun, install.ClientOnly, install.ReleaseName, install.Namespace = true, true, "ovnkube", namespace
	if install.KubeVersion, err = chartutil.ParseKubeVersion("v1.36.0"); err != nil {
		return "", err
	}
	release, err := install.Run(loaded, values)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(release.Manifest, "---\n"), nil
}

func mustRender(t *testing.T, settings ...string) string {
	t.Helper()
	text, err := render(names.Namespace, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// documents are the objects that come from templates whose path has the prefix, without helm's notes about them.
func documents(text, prefix string) string {
	var out []string
	for document := range strings.SplitSeq(text, "\n---\n") {
		note, rest, ok := strings.Cut(strings.TrimPrefix(document, "---\n"), "\n")
		if ok && strings.HasPrefix(note, "# Source: ovnkube/templates/"+prefix) {
			out = append(out, strings.TrimRight(trimLines(rest), "\n"))
		}
	}
	return strings.Join(out, "\n---\n") + "\n"
}

// trimLines removes what templates leave at the ends of lines.
func trimLines(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

const (
	rightsHead = "# Rights of ovnkube's components, rendered from dist/helm/ovnkube (make manifests): do not change this file.\n---\n"
	allHead    = `# ovnkube for a cluster of kubeadm's with one control-plane node, rendered from dist/helm/ovnkube (make manifests): do not change this
# file. ` + placeholder + ` stands for that node's address:
#   sed s/` + placeholder + `/ADDRESS/ ovnkube.yaml | kubectl apply -f -
# All else is best set with the chart itself: docs/guides/install.md.
---
`
)

// What kubectl applies is what helm installs.
func TestRendered(t *testing.T) {
	all := mustRender(t, append(placeholders(), "namespace.create=true")...)
	for path, want := range map[string]string{
		filepath.Join(manifests, "ovnkube.yaml"): allHead + documents(all, ""),
		filepath.Join(manifests, "rights.yaml"):  rightsHead + documents(all, "rights/"),
		"testdata/large.yaml":                    documents(mustRender(t, large()...), ""),
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil { //nolint:gosec // for everybody to read
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the chart renders; make manifests (-chart +file):\n%s", path, diff)
		}
	}
}
