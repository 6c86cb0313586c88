package cni

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// hostNameLength is how much of the sandbox ID names the host's end of the veth; the kernel's limit for
// interface names is 15.
const hostNameLength = 15

// podRef is the pod that the runtime names in CNI_ARGS.
type podRef struct {
	Namespace, Name string
	// UID is empty with runtimes that do not pass it.
	UID string
}

func (p podRef) String() string { return names.ObjectName(p.Namespace, p.Name) }

// request is a decoded command.
type request struct {
	protocol.Request
	pod        podRef
	cniVersion string
	// prev is the result of the plugins before this one (ADD) or of the whole list (CHECK); may be nil.
	prev *types100.Result
	// valid are the IDs of the sandboxes that GC must leave alone.
	valid map[string]bool
}

// hostName is the name of the sandbox's port and of the host's end of its veth.
func (r *request) hostName() string { return r.ContainerID[:min(len(r.ContainerID), hostNameLength)] }

// decode reads the configuration and CNI_ARGS of a request.
func decode(wire protocol.Request) (*request, error) {
	if err := checkNames(wire); err != nil {
		return nil, err
	}
	r := &request{Request: wire, pod: podOf(wire.Args)}
	if wire.Command == protocol.Add || wire.Command == protocol.Check {
		if r.pod.Namespace == "" || r.pod.Name == "" {
			return nil, coded(types.ErrInvalidEnvironmentVariables, "CNI_ARGS %.200q lacks K8S_POD_NAMESPACE or K8S_POD_NAME", wire.Args)
		}
	}
	var conf types.PluginConf
	if len(wire.Config) > 0 {
		if err := json.Unmarshal(wire.Config, &conf); err != nil {
			return nil, coded(types.ErrDecodingFailure, "network configuration: %w", err)
		}
	}
	r.cniVersion = conf.CNIVersion
	if r.cniVersion == "" {
		r.cniVersion = "0.3.1"
	}
	if err := r.decodePrevious(&conf); err != nil {
		return nil, err
	}
	if wire.Command == protocol.GC {
		return r, r.decodeAttachments()
	}
	return r, nil
}

// checkNames refuses what must not become the name of a file, a port or an interface (CNI specification, "Parameters").
func checkNames(wire protocol.Request) error {
	if wire.Command == protocol.GC || wire.Command == protocol.Status {
		return nil
	}
	if err := utils.ValidateContainerID(wire.ContainerID); err != nil {
		return coded(err.Code, "CNI_CONTAINERID %.80q: %s", wire.ContainerID, err.Msg)
	}
	if err := utils.ValidateInterfaceName(wire.IfName); err != nil {
		return coded(err.Code, "CNI_IFNAME %.80q: %s", wire.IfName, err.Msg)
	}
	if wire.Netns != "" && !filepath.IsAbs(wire.Netns) {
		return coded(types.ErrInvalidEnvironmentVariables, "CNI_NETNS %.80q is not an absolute path", wire.Netns)
	}
	return nil
}

func (r *request) decodePrevious(conf *types.PluginConf) error {
	if conf.RawPrevResult == nil {
		return nil
	}
	if err := version.ParsePrevResult(conf); err != nil {
		return coded(types.ErrDecodingFailure, "prevResult: %w", err)
	}
	prev, err := types100.NewResultFromResult(conf.PrevResult)
	if err != nil {
		return coded(types.ErrDecodingFailure, "prevResult: %w", err)
	}
	r.prev = prev
	return nil
}

// decodeAttachments reads the list of valid attachments. Without the key, as opposed to an empty list, nothing may
// be collected (CNI specification, "GC: Clean up any stale resources").
func (r *request) decodeAttachments() error {
	const key = "cni.dev/valid-attachments"
	var conf map[string]json.RawMessage
	if err := json.Unmarshal(r.Config, &conf); err != nil {
		return coded(types.ErrDecodingFailure, "network configuration: %w", err)
	}
	raw, ok := conf[key]
	if !ok {
		return coded(types.ErrInvalidNetworkConfig, "GC without %s", key)
	}
	var attachments []types.GCAttachment
	if err := json.Unmarshal(raw, &attachments); err != nil {
		return coded(types.ErrDecodingFailure, "%s: %w", key, err)
	}
	r.valid = make(map[string]bool, len(attachments))
	for _, a := range attachments {
		r.valid[a.ContainerID] = true
	}
	return nil
}

// podOf reads the pod from CNI_ARGS, "KEY=value;KEY=value".
func podOf(args string) podRef {
	var p podRef
	for _, pair := range strings.Split(args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			p.Namespace = value
		case "K8S_POD_NAME":
			p.Name = value
		case "K8S_POD_UID":
			p.UID = value
		}
	}
	return p
}

// encode turns a result into JSON of the configuration's version.
func (r *request) encode(result *types100.Result) (json.RawMessage, error) {
	out, err := result.GetAsVersion(r.cniVersion)
	if err != nil {
		return nil, coded(types.ErrIncompatibleCNIVersion, "result as CNI version %s: %w", r.cniVersion, err)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return data, nil
}
