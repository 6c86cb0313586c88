package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// workload is a Deployment, DaemonSet or StatefulSet.
type workload struct {
	Kind string `json:"kind"`
	Spec struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

func commands(t *testing.T, file string) (out [][]string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		var w workload
		if err := yaml.Unmarshal([]byte(document), &w); err != nil || !slices.Contains([]string{"Deployment", "DaemonSet", "StatefulSet"}, w.Kind) {
			continue
		}
		for _, c := range w.Spec.Template.Spec.Containers {
			out = append(out, c.Command)
		}
	}
	return out
}

// What pods run is there, with all of its flags, and takes their values.
func TestManifestsCommands(t *testing.T) {
	variables := strings.NewReplacer("$(NODE_NAME)", "node1", "$(NODE_IP)", "192.0.2.1")
	for file, want := range map[string]int{"../../../dist/manifests/ovnkube.yaml": 7, "../../../test/chart/testdata/large.yaml": 8} {
		seen := 0
		for _, argv := range commands(t, file) {
			if argv[0] != "/usr/bin/ovnkube" {
				continue
			}
			seen++
			for i := range argv {
				argv[i] = variables.Replace(argv[i])
			}
			cmd, rest, err := newRootCommand().Find(argv[1:])
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil || !cmd.Runnable() {
				t.Errorf("%s: %q: %v", file, argv, err)
			}
		}
		if seen != want {
			t.Errorf("%s: %d containers run ovnkube, want %d", file, seen, want)
		}
	}
}
