package cni

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

func TestDecode(t *testing.T) {
	r, err := decode(protocol.Request{
		Command: "ADD", ContainerID: strings.Repeat("c", 64), Netns: "/n", IfName: "eth0",
		Args:   "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=x;K8S_POD_UID=u",
		Config: json.RawMessage(`{"cniVersion":"0.4.0","name":"n","type":"t"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(podRef{Namespace: "ns", Name: "p", UID: "u"}, r.pod); diff != "" {
		t.Error(diff)
	}
	if r.cniVersion != "0.4.0" || r.hostName() != "ccccccccccccccc" || r.prev != nil {
		t.Errorf("got %+v", r)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		request protocol.Request
		code    uint
	}{
		"no pod":         {protocol.Request{Command: "ADD", ContainerID: "c", IfName: "eth0", Args: "A=b"}, types.ErrInvalidEnvironmentVariables},
		"bad config":     {protocol.Request{Command: "DEL", ContainerID: "c", IfName: "eth0", Config: json.RawMessage(`[]`)}, types.ErrDecodingFailure},
		"deep config":    {protocol.Request{Command: "DEL", ContainerID: "c", IfName: "eth0", Config: json.RawMessage(strings.Repeat(`{"a":`, 100_000))}, types.ErrDecodingFailure},
		"bad prevResult": {protocol.Request{Command: "DEL", ContainerID: "c", IfName: "eth0", Config: json.RawMessage(`{"cniVersion":"1.1.0","prevResult":{"ips":7}}`)}, types.ErrDecodingFailure},
		"bad list":       {protocol.Request{Command: "GC", Config: json.RawMessage(`{"cni.dev/valid-attachments":7}`)}, types.ErrDecodingFailure},
		// These would become names of files, ports and interfaces.
		"sandbox like a path":    {protocol.Request{Command: "DEL", ContainerID: "../../../etc/cron.d/x", IfName: "eth0"}, types.ErrInvalidEnvironmentVariables},
		"sandbox like an option": {protocol.Request{Command: "DEL", ContainerID: "--all", IfName: "eth0"}, types.ErrInvalidEnvironmentVariables},
		"interface like a path":  {protocol.Request{Command: "DEL", ContainerID: "c", IfName: "../eth0"}, types.ErrInvalidEnvironmentVariables},
		"long interface":         {protocol.Request{Command: "DEL", ContainerID: "c", IfName: strings.Repeat("e", 16)}, types.ErrInvalidEnvironmentVariables},
		"relative namespace":     {protocol.Request{Command: "DEL", ContainerID: "c", IfName: "eth0", Netns: "proc/1/ns/net"}, types.ErrInvalidEnvironmentVariables},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(test.request)
			wantCode(t, err, test.code)
		})
	}
}

// FuzzDecode: no configuration and no arguments bring the agent down, and GC never takes a missing list for an empty one.
func FuzzDecode(f *testing.F) {
	f.Add("ADD", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b", []byte(`{"cniVersion":"1.1.0","name":"n","prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.1/24"}]}}`))
	f.Add("GC", "", []byte(`{"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}`))
	f.Add("DEL", "../../x;eth0", []byte(`{}`))
	f.Add("ADD", "K8S_POD_NAMESPACE="+strings.Repeat("n", 63)+";K8S_POD_NAME="+strings.Repeat("p.", 126), []byte(strings.Repeat(`[`, 20_000)))
	f.Add("CHECK", ";;=;", []byte(`{"cniVersion":"0.3.1","prevResult":null}`))
	f.Fuzz(func(t *testing.T, command, args string, config []byte) {
		sandbox, ifName, _ := strings.Cut(args, ";")
		r, err := decode(protocol.Request{Command: command, Args: args, Config: config, ContainerID: sandbox, Netns: "/n", IfName: ifName})
		if err != nil {
			r, err = decode(protocol.Request{Command: command, Args: args, Config: config, ContainerID: "c", Netns: "/n", IfName: "eth0"})
		}
		if err != nil {
			return
		}
		if name := r.hostName(); command != protocol.GC && command != protocol.Status && (name != filepath.Base(name) || strings.HasPrefix(name, ".")) {
			t.Errorf("%q names a file", name)
		}
		if command == protocol.GC && r.valid == nil {
			t.Error("GC without a list")
		}
		if command == protocol.Add {
			a := (&Server{}).plan(r, podInfo{}, dual)
			if _, err := r.encode(a.result(r.prev)); err != nil && !strings.Contains(err.Error(), "result as CNI version") {
				t.Error(err)
			}
			a.within(&types100.Result{})
		}
	})
}
