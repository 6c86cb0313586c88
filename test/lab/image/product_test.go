package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/dist/images"
)

// debian makes a folder that looks like a system's root, and one with executables.
func debian(t *testing.T) (root, bin string) {
	t.Helper()
	root, bin = t.TempDir(), t.TempDir()
	for _, file := range []string{"usr/sbin/ovs-vswitchd", "usr/share/doc/x", "etc/openvswitch/conf.db"} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name := range images.Binaries() {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return root, bin
}

func TestProductImage(t *testing.T) {
	root, bin := debian(t)
	im, err := productImage(root, bin, "v1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := Write(file, []Image{im}); err != nil {
		t.Fatal(err)
	}
	names, err := Names(file)
	if diff := cmp.Diff([]string{"ghcr.io/ovnkube/ovnkube:v1"}, names); diff != "" || err != nil {
		t.Errorf("names: %v %s", err, diff)
	}
	var paths []string
	for _, layer := range im.Layers {
		for _, f := range layer {
			if f.Source != "" {
				paths = append(paths, f.Path)
			}
		}
	}
	got := strings.Join(paths, " ")
	for _, want := range []string{"usr/sbin/ovs-vswitchd", "usr/bin/ovnkube", "usr/bin/kubectl-ovn", "usr/libexec/cni/ovn-k8s-cni-overlay"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	// Two nodes with the same database would be the same chassis.
	if strings.Contains(got, "conf.db") || strings.Contains(got, "doc/x") {
		t.Errorf("too much in the image: %s", got)
	}
	if err := os.Remove(filepath.Join(bin, "kubectl-ovn")); err != nil {
		t.Fatal(err)
	}
	if _, err := productImage(root, bin, "v1"); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without an executable: %v", err)
	}
}
