package artifact

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository returns the top folder of this repository.
func repository(t *testing.T) string {
	t.Helper()
	root, err := FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestNamesOfGroups(t *testing.T) {
	lab := Names(GroupLab)
	for _, want := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl",
		"etcd", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "coredns", "agnhost", "pause"} {
		if !slices.Contains(lab, want) {
			t.Errorf("the lab lacks %s", want)
		}
	}
	// These take minutes; nobody who wants a lab should wait for them.
	for _, not := range []string{"e2e.test", "ginkgo", "golangci-lint", "kube-proxy"} {
		if slices.Contains(lab, not) {
			t.Errorf("the lab builds %s", not)
		}
	}
	if diff := cmp.Diff([]string{"regression-issue-74839", "e2e.test", "ginkgo"}, Names(GroupConformance)); diff != "" {
		t.Error(diff)
	}
	all := Names(GroupLab, GroupCNI, GroupConformance, GroupLint, GroupBench)
	if slices.Sort(all); len(slices.Compact(slices.Clone(all))) != len(all) || len(all) != len(All()) {
		t.Errorf("names are not unique or have no group: %v", all)
	}
}

func TestPickUnknownNamesTheKnown(t *testing.T) {
	_, err := pick([]string{"kubelet", "kubelett"})
	if err == nil || !strings.Contains(err.Error(), `"kubelett"`) || !strings.Contains(err.Error(), "kube-apiserver") {
		t.Errorf("got %v", err)
	}
}

// TestModulesPinEveryArtifact: each artifact's module folder exists and requires what it stamps.
func TestModulesPinEveryArtifact(t *testing.T) {
	root := repository(t)
	items, err := resolve(t.Context(), Options{Root: root}, All())
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if it.Package == "." || it.Kind == CProgram {
			continue
		}
		goMod, err := os.ReadFile(filepath.Join(it.dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		// Without the tool directive, go.sum lacks what the command needs.
		if !strings.Contains(string(goMod), it.Package+"\n") {
			t.Errorf("%s/go.mod has no tool directive for %s", it.dir, it.Package)
		}
	}
}

// TestGinkgoMatchesKubernetes: the ginkgo command refuses test binaries of another version.
func TestGinkgoMatchesKubernetes(t *testing.T) {
	versions := map[string]string{}
	for _, module := range []string{"kubernetes", "ginkgo"} {
		goMod, err := os.ReadFile(filepath.Join(repository(t), "test", "tools", module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		versions[module] = requiredVersion(goMod, "github.com/onsi/ginkgo/v2")
	}
	if versions["kubernetes"] == "" || versions["kubernetes"] != versions["ginkgo"] {
		t.Errorf("versions of ginkgo differ: %v", versions)
	}
}

// TestKubeProxyMatchesKubernetes: a comparison with another version would not be fair.
func TestKubeProxyMatchesKubernetes(t *testing.T) {
	const repo = "k8s.io/kubernetes"
	versions := map[string]string{}
	for _, module := range []string{"kubernetes", "kubeproxy"} {
		goMod, err := os.ReadFile(filepath.Join(repository(t), "test", "tools", module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		versions[module] = requiredVersion(goMod, repo)
	}
	if versions["kubeproxy"] == "" || versions["kubernetes"] != versions["kubeproxy"] {
		t.Errorf("versions of %s differ: %v", repo, versions)
	}
}

func TestKubernetesStamp(t *testing.T) {
	flags := kubernetesStamp("v1.36.3")
	for _, want := range []string{
		"-X k8s.io/component-base/version.gitVersion=v1.36.3",
		"-X k8s.io/client-go/pkg/version.gitMajor=1",
		"-X k8s.io/component-base/version.gitMinor=36",
	} {
		if !slices.Contains(flags, want) {
			t.Errorf("no %q in %q", want, flags)
		}
	}
}

func TestOptionsDefaults(t *testing.T) {
	root := t.TempDir()
	t.Setenv(CacheVariable, "")
	if dir, err := (Options{Root: root}).CacheDir(); err != nil || dir != filepath.Join(root, ".cache") {
		t.Errorf("got %q, %v", dir, err)
	}
	t.Setenv(CacheVariable, "/elsewhere")
	if dir, err := (Options{Root: root}).CacheDir(); err != nil || dir != "/elsewhere" {
		t.Errorf("got %q, %v", dir, err)
	}
	if dir, err := (Options{Root: root, Cache: "/here"}).CacheDir(); err != nil || dir != "/here" {
		t.Errorf("got %q, %v", dir, err)
	}
}

func TestFindRootOutsideSaysWhatToDo(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := FindRoot(); err == nil || !strings.Contains(err.Error(), "change into it") {
		t.Errorf("got %v", err)
	}
}

func TestEventString(t *testing.T) {
	e := Event{Step: 3, Total: 14, Name: "kube-apiserver", Detail: "v1.36.3"}
	if got := e.String(); got != "[3/14] kube-apiserver: v1.36.3 ..." {
		t.Error(got)
	}
	e.Done, e.Elapsed = true, 211e9
	if got := e.String(); got != "[3/14] kube-apiserver: v1.36.3 done in 211.0s" {
		t.Error(got)
	}
}
