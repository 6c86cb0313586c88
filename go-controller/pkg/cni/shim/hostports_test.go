package shim

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

const withPorts = `{"cniVersion":"1.0.0","name":"n","type":"ovn-k8s-cni-overlay","runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":8080,"protocol":"tcp"}]}}`

func TestWanted(t *testing.T) {
	for config, want := range map[string]bool{
		withPorts: true,
		`{"cniVersion":"1.0.0","name":"n","type":"t"}`:                             false,
		`{"cniVersion":"1.0.0","name":"n","runtimeConfig":{"portMappings":[]}}`:    false,
		`{"cniVersion":"1.0.0","name":"n","runtimeConfig":{"portMappings":null}}`:  false,
		`{"cniVersion":"1.0.0","name":"n","runtimeConfig":{"ips":["10.128.0.5"]}}`: false,
		`nonsense`: false,
		``:         false,
	} {
		if got := Wanted([]byte(config)); got != want {
			t.Errorf("%s: %v, want %v", config, got, want)
		}
	}
}

// portmap puts a script in its place and returns the environment that leads there.
func portmap(t *testing.T, script string) (HostPorts, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "portmap"), []byte("#!/bin/sh\n"+strings.ReplaceAll(script, "DIR", dir)+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return HostPorts{Environ: []string{"PATH=" + os.Getenv("PATH"), "CNI_PATH=/none:" + dir, "CNI_COMMAND=ADD", "CNI_IFNAME=eth0"}}, dir
}

func TestHostPortsAreDelegated(t *testing.T) {
	h, dir := portmap(t, `cat >DIR/stdin; echo "$CNI_COMMAND $CNI_IFNAME" >DIR/env; echo ignored`)
	if err := h.Do(t.Context(), "DEL", []byte(withPorts), json.RawMessage(`{"cniVersion":"1.0.0"}`)); err != nil {
		t.Fatal(err)
	}
	var got, want any
	data, err := os.ReadFile(filepath.Join(dir, "stdin"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Replace(withPorts, "ovn-k8s-cni-overlay", "portmap", 1)
	if err := errors.Join(json.Unmarshal(data, &got), json.Unmarshal([]byte(wanted[:len(wanted)-1]+`,"prevResult":{"cniVersion":"1.0.0"}}`), &want)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if env, _ := os.ReadFile(filepath.Join(dir, "env")); string(env) != "DEL eth0\n" {
		t.Errorf("environment: %q", env)
	}
}

func TestHostPortsFail(t *testing.T) {
	for name, test := range map[string]struct {
		script, msg, details string
		code                 uint
	}{
		"CNI error": {`echo '{"code":7,"msg":"port in use","details":"80"}'; exit 1`, "host ports: portmap: port in use", "80", 7},
		"crash":     {`echo panic >&2; exit 2`, "exit status 2", "panic", 100},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := portmap(t, test.script)
			var cni *types.Error
			if err := h.Do(t.Context(), "ADD", []byte(withPorts), nil); !errors.As(err, &cni) {
				t.Fatal(err)
			}
			if cni.Code != test.code || !strings.Contains(cni.Msg, test.msg) || cni.Details != test.details {
				t.Errorf("got %+v", cni)
			}
		})
	}
	h := HostPorts{Environ: []string{"CNI_PATH=/none"}}
	if err := h.Do(t.Context(), "ADD", []byte(withPorts), nil); err == nil || !strings.Contains(err.Error(), "no portmap in /none") {
		t.Errorf("without portmap: %v", err)
	}
}
