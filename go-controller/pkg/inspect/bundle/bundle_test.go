package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// plants are secrets, each in a guise of its own; the word plant is in all of them.
func plants() map[string]string {
	pem := "-----BEGIN EC PRIVATE KEY-----\nplantMHcCAQEE\n-----END EC PRIVATE KEY-----\n"
	return map[string]string{
		"PEM": pem, "PEM in JSON": `{"x": "` + strings.ReplaceAll(pem, "\n", `\n`) + `"}`, "PEM, cut off": pem[:40],
		"kubeconfig":           "client-key-data: plantLS0tLS1CRUdJ\n    token: plant.value/with+all=\n    password: \"plant-word\"\n",
		"base64 of PEM":        "ca: LS0tLS1CRUdJTiplant",
		"web token":            "got eyJhbGciOiJSUzI1NiIsplant.eyJpc3MiOiJrdWJlcm5ldGVzplant.c2lnbmF0dXJlplant from it",
		"header":               "Authorization: Bearer plant-0123456789",
		"basic":                `curl -H "authorization: Basic plantcGxhbnQ6cGxhbnQ="`,
		"URL":                  "postgres://plant:plant@192.0.2.1/db",
		"flag, equal":          "ovnkube master --some-token=plant --other=1",
		"flag, space":          "run --admin-password plant --other",
		"environment":          "API_KEY=plant\nMY_SECRET='plant'",
		"JSON":                 `{"accessKey":"plant","nested":{"client_secret": "plant"}}`,
		"JSON in JSON":         `{"config": "{\"token\":\"plant\"}"}`,
		"tunnel":               `options: {csum="true", psk=plant, remote_ip="192.0.2.1"}`,
		"bootstrap token":      "kubeadm join --discovery plant0.plant0123456789a",
		"what a forge gives":   "ghp_plantABCDEFGHIJKLMNOPQRSTUV",
		"upper case, in words": "PASSWORD = plant",
	}
}

func TestScrub(t *testing.T) {
	s := newScrubber()
	for name, text := range plants() {
		if got := string(s.text([]byte(text))); strings.Contains(got, "plant") || !strings.Contains(got, removed) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, text := range []string{ // What support needs stays.
		`cookie=0x4d43181, table=44, priority=2001,ip,reg15=0x2,metadata=0x3 actions=drop`,
		`private_key: "/etc/ovn/pki/ovnkube-master.pem"`, `automountServiceAccountToken: false`, `secretName: ovnkube-ca`,
		`options: {csum="true", key=flow, remote_ip="172.18.0.12"}`, `the secret of success`, `_uuid: 55f077ec-8b1d-4c36-b2c6-6e34bff39a0a`,
		`--nb-client-privkey=/etc/ovn/key.pem --loglevel=4`, `"serviceAccountToken":{"expirationSeconds":3607}`,
		`dl_dst=0a:58:0a:80:00:04`, `http://127.0.0.1:9409/metrics`, `kubectl get secret ovnkube-ca`,
	} {
		if got := string(s.text([]byte(text))); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// shell answers commands by parts of them; what it does not know fails.
type shell map[string]string

func (s shell) Run(_ context.Context, at access.Place, streams access.Streams, argv ...string) error {
	line := strings.Join(argv, " ")
	for part, text := range s {
		if strings.Contains(line, part) {
			_, err := io.WriteString(streams.Out, text)
			return err
		}
	}
	_, _ = io.WriteString(streams.Err, "no such thing, and password=plant\n")
	return fmt.Errorf("%s: %w", at, &access.ExitError{Argv: argv, Code: 1})
}

// cluster is one with secrets in all places.
func cluster() *fake.Clientset {
	noise := map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": `{"data":"plant"}`, "example.com/anything": "plant", "k8s.ovn.org/pod-networks": `{"default":{"ip_address":"10.128.0.4/23"}}`,
	}
	own := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: names.Namespace, Name: "ovnkube-master-0", Annotations: noise}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "master", Args: []string{"--admin-password", "plant", "--loglevel=4"}, Ports: []corev1.ContainerPort{{Name: names.MetricsPort, ContainerPort: 9409}},
		Env: []corev1.EnvVar{{Name: "CLOUD_TOKEN", Value: "plant"}, {Name: "LOGLEVEL", Value: "five"}},
	}}}}
	own.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "master", RestartCount: 1}}
	others := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: noise}, Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{
		Name: "web", Command: []string{"serve", "plant"}, Env: []corev1.EnvVar{{Name: "WHATEVER", Value: "plant"}},
	}}}}
	client := fake.NewClientset(own, others,
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1", Annotations: map[string]string{"example.com/x": "plant"}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: names.Namespace, Name: "ovnkube-ca"}, Data: map[string][]byte{"key": []byte("plant")}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: names.Namespace, Name: "settings"}, Data: map[string]string{"kubeconfig": plants()["kubeconfig"], "mtu": "1400"}},
		&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "e"}, Message: "cannot pull with password=plant"},
	)
	client.AddProxyReactor("pods", func(clienttesting.Action) (bool, rest.ResponseWrapper, error) {
		return true, answer("ovnkube_master_leader 1\n"), nil
	})
	return client
}

// answer is what a pod answers.
type answer string

func (a answer) DoRaw(context.Context) ([]byte, error) { return []byte(a), nil }
func (a answer) Stream(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(a))), nil
}

// make writes an archive and returns its files, by name.
func makeBundle(t *testing.T, o Options) (map[string]string, *Manifest) {
	t.Helper()
	o.Namespace, o.Version, o.Now, o.Progress = names.Namespace, "test", time.Now, func(int, int, string) {}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Status == nil {
		o.Status = func(_ context.Context, to io.Writer) error {
			_, err := io.WriteString(to, "The network is ok.\n")
			return err
		}
	}
	var b bytes.Buffer
	m, err := Write(context.Background(), o, &b)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, m
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "ovnkube-bundle/")] = string(text)
	}
}

// All that can be got is there, what cannot be got is in the manifest, and no secret is anywhere.
func TestBundle(t *testing.T) {
	all := ""
	for _, text := range plants() {
		all += text + "\n"
	}
	files, m := makeBundle(t, Options{Client: cluster(), Access: shell{
		"ovs-vsctl --timeout=30 show": "Bridge br-int\n" + all, "dump-flows br-int": "table=0", "backup": "OVSDB CLUSTER", "tail -v": all,
	}})
	for name, text := range files {
		if i := strings.Index(text, "plant"); i >= 0 {
			t.Errorf("%s has a secret: …%s…", name, text[max(0, i-60):min(len(text), i+30)])
		}
	}
	for name, part := range map[string]string{
		"objects/pods.json": `"web"`, "objects/nodes.json": "node1", "objects/network/configmaps.json": `"mtu": "1400"`, "objects/events.json": "cannot pull",
		"pods/ovnkube-master-0/master.log": "fake logs", "pods/ovnkube-master-0/master.previous.log": "fake logs", "status.txt": "The network is ok.", "pods/ovnkube-master-0/metrics.txt": "ovnkube_master_leader 1",
		"nodes/node1/ovs-vsctl-show.txt": "Bridge br-int", "nodes/node1/flows-br-int.txt": "table=0", "ovn/nb/OVN_Northbound.db": "OVSDB CLUSTER",
		"manifest.json": `"pods/ovnkube-master-0/master.log"`,
	} {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s lacks %q: %.300s", name, part, files[name])
		}
	}
	for _, part := range []string{"--loglevel=4", `"five"`, "10.128.0.4/23", "CLOUD_TOKEN"} {
		if !strings.Contains(files["objects/pods.json"], part) {
			t.Errorf("the network's own pod lacks %s", part)
		}
	}
	missing := map[string]string{}
	for _, f := range m.Missing() {
		missing[f.Name] = f.Missing
	}
	if got := missing["nodes/node1/conntrack.txt"]; !strings.Contains(got, "exit code 1") || !strings.Contains(got, "no such thing") {
		t.Errorf("why there is no conntrack.txt: %q", got)
	}
	if missing["nodes/node1/flows-br-int.txt"] != "" {
		t.Error("a file that is there is said to be missing")
	}
	var told Manifest
	if err := json.Unmarshal([]byte(files["manifest.json"]), &told); err != nil || len(told.Files) != len(m.Files) {
		t.Errorf("manifest.json has %d files, want %d (%v)", len(told.Files), len(m.Files), err)
	}
}

// What may not be read is said to be missing, and the rest is there.
func TestMissing(t *testing.T) {
	client := cluster()
	for _, what := range []string{"pods", "nodes"} {
		client.PrependReactor("list", what, func(a clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", errors.New("no right"))
		})
	}
	files, m := makeBundle(t, Options{Client: client, Access: shell{}, Status: func(context.Context, io.Writer) error { return errors.New("no status") }})
	why := map[string]string{}
	for _, f := range m.Missing() {
		why[f.Name] = f.Missing
	}
	for name, want := range map[string]string{"pods/": "no right", "nodes/": "no right", "objects/pods.json": "no right", "status.txt": "no status"} {
		if !strings.Contains(why[name], want) {
			t.Errorf("%s: %q, want %q", name, why[name], want)
		}
	}
	if files["objects/services.json"] == "" {
		t.Error("what can be read is missing, too")
	}
}

// Files and the whole are bounded, and what was left out is named.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", fileSize+1)
	files, m := makeBundle(t, Options{Client: cluster(), Access: shell{"dump-flows br-int": long, "dump-flows br-ex": long}, Size: fileSize + 1<<20})
	var cut, left int
	for _, f := range m.Files {
		if strings.Contains(f.Name, "/flows-") {
			switch {
			case f.Truncated && f.Bytes == fileSize && len(files[f.Name]) == fileSize:
				cut++
			case f.Bytes == 0 && strings.Contains(f.Missing, "as large as it may become") && files[f.Name] == "":
				left++
			}
		}
	}
	if cut != 1 || left != 1 {
		t.Errorf("%d files are cut and %d left out, want one each", cut, left)
	}
	if m.Bytes() > fileSize+1<<20 {
		t.Errorf("%d bytes", m.Bytes())
	}
}

// A secret is found wherever a text is cut, and dumps are not looked at letter by letter.
func TestPieces(t *testing.T) {
	s := newScrubber()
	line := "cookie=0x4d43181, duration=10.1s, table=44, priority=2001,ip,reg15=0x2,metadata=0x3 actions=drop\n"
	for shift := 0; shift < 2*len(line); shift += 9 {
		text := strings.Repeat("y", shift) + "\n" + strings.Repeat(line, piece/len(line)-1) + "password=plant\n" + line
		if got := string(s.text([]byte(text))); strings.Contains(got, "plant") || len(got) != len(text)+len(removed)-len("plant") {
			t.Fatalf("with %d letters before it the secret is found: %v", shift, !strings.Contains(got, "plant"))
		}
	}
}
