//go:build integration

package ovsdbtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// StartController runs the ovn-controller of a node, with that name and the chassis "id-NODE", without a switch, until the test
// ends or stop is called. It is killed, like a machine that is switched off, so its chassis stays. Settings are more of
// Open_vSwitch's external_ids.
func StartController(t testing.TB, sb *Server, node string, settings map[string]string) (stop func()) {
	t.Helper()
	vs := Start(t, VSwitch())
	args := []string{
		"add-br", "br-int", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=id-" + node, "external_ids:hostname=" + node,
		`external_ids:ovn-remote="` + sb.Endpoint() + `"`, "external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=127.0.0.1",
	}
	for key, value := range settings {
		args = append(args, "external_ids:"+key+"="+value)
	}
	vs.Ctl(args...)
	run := filepath.Dir(vs.socket) // Short, as for the sockets.
	cmd := exec.Command("ovn-controller", vs.Endpoint(), "-vconsole:off", "-vsyslog:off", "-vfile:off")
	cmd.Env = append(os.Environ(), "OVN_RUNDIR="+run, "OVS_RUNDIR="+run)
	ended, err := start(cmd)
	if err != nil {
		t.Fatalf("starting ovn-controller: %v", err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
	}
	t.Cleanup(stop)
	return stop
}
