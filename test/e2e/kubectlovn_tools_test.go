//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// checks runs kubectl ovn check against the lab, which is well: nothing may fail, and nothing may be left, even of a run that is interrupted.
func (k kubectlOVN) checks() {
	k.Helper()
	file := "/root/check.xml"
	outside := netip.AddrPortFrom(k.address("outside", k.families()[0]), tracedPort).String()
	out, code := k.run("check", "--image", image.Agnhost, "--outside", outside, "--junit", file, "-o", "json")
	var report struct {
		Findings []struct{ Check, State, Detail string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		k.Errorf("check: %v, exit code %d: %s", err, code, out)
	}
	for _, f := range report.Findings {
		if f.State != "ok" {
			k.Errorf("check: %s is %s: %s", f.Check, f.State, f.Detail)
		}
	}
	if want := 3 + 13*len(k.families()); len(report.Findings) != want {
		k.Errorf("%d findings, want %d: %s", len(report.Findings), want, out)
	}
	var suite struct {
		Tests int `xml:"tests,attr"`
	}
	text, err := os.ReadFile(k.path(plan.ControlPlane, file))
	if err := errors.Join(err, xml.Unmarshal(text, &suite)); err != nil || suite.Tests != len(report.Findings) {
		k.Errorf("JUnit's file has %d tests, want %d (%v)", suite.Tests, len(report.Findings), err)
	}
	if out, err := k.Exec(k.ctx, plan.ControlPlane, "timeout", "--foreground", "--preserve-status", "--signal=INT", "3", "kubectl", "ovn", "check", "--image", image.Agnhost); err == nil {
		k.Errorf("an interrupted check says all is well: %s", out)
	}
	list, err := k.client.CoreV1().Namespaces().List(k.ctx, metav1.ListOptions{LabelSelector: names.CheckLabel})
	k.must(err)
	if len(list.Items) != 0 {
		k.Errorf("%d namespaces are left by check", len(list.Items))
	}
	var pods []string
	for _, is4 := range k.families() {
		if is4 {
			pods = append(pods, "10.128.0.0/14")
		} else {
			pods = append(pods, "fd01::/48")
		}
	}
	if out, code := k.run("check", "preflight", "--cluster-subnets", strings.Join(pods, ",")); code != 0 || !strings.Contains(out, "nodes' kernels") {
		k.Errorf("preflight: exit code %d:\n%s", code, out)
	}
}

// captures looks whether tcpdump shows the packets of a pod on a node, as text and in tcpdump's own format. From is the machine where the plugin runs.
func (k kubectlOVN) captures(node, from string) {
	k.Helper()
	to := netip.AddrPortFrom(k.address("server", k.families()[0]), tracedPort)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-c", "2", "tcp", "dst", "port", "5000"}, " > " + to.Addr().String() + ".5000: Flags ["},
		{[]string{"-c", "2", "-w", "-", "tcp", "port", "5000"}, "\xd4\xc3\xb2\xa1"}, // of pcap-savefile(5), on little-endian machines
	} {
		ctx, cancel := context.WithCancel(k.ctx)
		go func() {
			for ctx.Err() == nil {
				once, done := context.WithTimeout(ctx, time.Second)
				_ = traffic.EchoOnce(once, k.places["friend"], tcp, to, 10)
				done()
			}
		}()
		var out, complaints bytes.Buffer
		err := k.Lab.Run(ctx, from, cluster.IO{Stdout: &out, Stderr: &complaints}, append([]string{"kubectl", "ovn", "tcpdump", k.ns + "/friend", "--"}, c.args...)...)
		cancel()
		if err != nil || !strings.Contains(out.String(), c.want) {
			k.Errorf("tcpdump %v: %v: %q, want %q; it says %s", c.args, err, out.String(), c.want, complaints.String())
		}
	}
	// In the foreground it signals once: a second signal ends the command at once.
	if out, err := k.Exec(k.ctx, from, "timeout", "--foreground", "--preserve-status", "--signal=INT", "2", "kubectl", "ovn", "tcpdump", k.ns+"/quiet"); err != nil {
		k.Errorf("an interrupted tcpdump: %v: %s", err, out)
	}
	if out, _ := k.Exec(k.ctx, node, "pgrep", "-x", "tcpdump"); strings.TrimSpace(out) != "" {
		k.Errorf("a tcpdump is left on %s: %s", node, out)
	}
}

// planted is a secret that has no business in a bundle.
const planted = "planted-by-e2e"

// bundles looks whether what support needs is in a bundle, and a secret is not. On a node there are no databases.
func (k kubectlOVN) bundles(node string) {
	k.Helper()
	_, err := k.client.CoreV1().ConfigMaps(names.Namespace).Create(k.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "planted"}, Data: map[string]string{"kubeconfig": "token: " + planted}}, metav1.CreateOptions{})
	k.must(err)
	defer func() {
		k.must(k.client.CoreV1().ConfigMaps(names.Namespace).Delete(k.ctx, "planted", metav1.DeleteOptions{}))
	}()
	_, err = k.client.CoreV1().Secrets(k.ns).Create(k.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "planted"}, StringData: map[string]string{"x": planted}}, metav1.CreateOptions{})
	k.must(err)
	k.create(newPod(k.ns, "planted", onNode(node), pausing, func(p *corev1.Pod) {
		p.Annotations = map[string]string{"example.com/x": planted}
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", Value: planted}}
	}))
	for machine, want := range map[string]map[string]string{
		plan.ControlPlane: {"ovn/nb/OVN_Northbound.db": "OVSDB", "ovn/sb/show.txt": node, "objects/networkpolicies.json": "only-friend", "status.txt": "master"},
		node:              {"nodes/" + node + "/flows-br-int.txt": "table=", "nodes/" + node + "/ovs-vsctl-show.txt": "geneve", "nodes/" + node + "/host.txt": names.ManagementPort},
	} {
		file := "/root/bundle.tar.gz"
		out, err := k.Exec(k.ctx, machine, "kubectl", "ovn", "bundle", "-o", file, "--nodes", node)
		if err != nil {
			k.Errorf("bundle on %s: %v: %s", machine, err, out)
			continue
		}
		files := k.unpack(k.path(machine, file))
		for name, part := range want {
			if !strings.Contains(files[name], part) {
				k.Errorf("bundle on %s: %s lacks %q: %.200q", machine, name, part, files[name])
			}
		}
		for name, text := range files {
			if strings.Contains(text, planted) {
				k.Errorf("bundle on %s: the secret is in %s", machine, name)
			}
		}
		if manifest := files["manifest.json"]; !strings.Contains(manifest, `"missing"`) || !strings.Contains(manifest, "there are no pods in namespace") {
			k.Errorf("bundle on %s: the manifest does not say what is missing: %s", machine, manifest)
		}
	}
}

// unpack reads an archive.
func (k kubectlOVN) unpack(file string) map[string]string {
	k.Helper()
	in, err := os.Open(file)
	k.must(err)
	defer in.Close()
	unpacked, err := gzip.NewReader(in)
	k.must(err)
	files := map[string]string{}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		k.must(err)
		text, err := io.ReadAll(r)
		k.must(err)
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(text)
	}
}
