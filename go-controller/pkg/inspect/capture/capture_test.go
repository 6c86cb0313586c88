package capture

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
)

func web() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.PodSpec{NodeName: "node1"}}
}

// programs puts a folder in front of PATH in which are shell scripts.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "DIR", dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

const finds = `echo "$@" >DIR/asked; echo 0123456789abcde`

// The capture is at the pod's port on its node, with the user's arguments last.
func TestWhere(t *testing.T) {
	dir := programs(t, map[string]string{"ovs-vsctl": finds, "tcpdump": `echo "$@"; echo "1 packet captured" >&2`})
	var out, complaints bytes.Buffer
	o := Options{Access: &access.Machines{Here: "node1"}, Pod: web(), Args: []string{"-c", "1", "tcp port 80"}, Out: &out, Err: &complaints}
	if err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("-i 0123456789abcde -n -l -U -Z root -c 1 tcp port 80\n", out.String()); diff != "" {
		t.Errorf("tcpdump (-want +got):\n%s", diff)
	}
	if complaints.String() != "1 packet captured\n" {
		t.Errorf("it says %q", complaints.String())
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if want := `find Interface external_ids:iface-id="shop_web"`; err != nil || !strings.Contains(string(asked), want) {
		t.Errorf("asked %q (%v), want %s", asked, err, want)
	}
}

// A tcpdump that fails does so with its own code.
func TestFailure(t *testing.T) {
	programs(t, map[string]string{"ovs-vsctl": finds, "tcpdump": "exit 5"})
	err := Run(context.Background(), Options{Access: &access.Machines{Here: "node1"}, Pod: web()})
	var exit *access.ExitError
	if !errors.As(err, &exit) || exit.Code != 5 {
		t.Errorf("error %v, want exit code 5", err)
	}
}

// When the user ends it nothing stays behind on the node, even though no packet comes; and what tcpdump counted is seen.
func TestInterrupted(t *testing.T) {
	dir := programs(t, map[string]string{"ovs-vsctl": finds,
		"tcpdump": `trap 'echo "0 packets captured" >&2; >DIR/ended; exit 0' TERM; >DIR/began; while :; do sleep 0.05; done`})
	ctx, cancel := context.WithCancel(context.Background())
	var complaints bytes.Buffer
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "began")); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := Run(ctx, Options{Access: &access.Machines{Here: "node1"}, Pod: web(), Err: &complaints}); err != nil {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil || complaints.String() != "0 packets captured\n" {
		t.Errorf("tcpdump was not told to end (%v), it says %q", err, complaints.String())
	}
}

func TestRefused(t *testing.T) {
	programs(t, map[string]string{"ovs-vsctl": "true"})
	host, pending := web(), web()
	host.Spec.HostNetwork = true
	pending.Spec.NodeName = ""
	for want, pod := range map[string]*corev1.Pod{"has no port of its own": host, "not on a node yet": pending, "not plugged in on node node1": web()} {
		if _, err := Device(context.Background(), &access.Machines{Here: "node1"}, pod); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	for _, c := range []struct {
		args     string
		terminal bool
		want     string
	}{
		{"-w - tcp", false, ""},
		{"-w -", true, "not for a terminal"},
		{"-w-", true, "not for a terminal"},
		{"-w web.pcap", false, "-w - >web.pcap"},
		{"-e -c 3 port 80", true, ""},
		{"-i eth0", true, "not yours"},
	} {
		err := CheckArgs(strings.Fields(c.args), c.terminal)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.args, err, c.want)
		}
	}
}
