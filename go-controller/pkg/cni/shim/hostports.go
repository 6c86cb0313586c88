package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// HostPorts delegates host ports to portmap, the CNI project's plugin for them (CNI specification, "Plugin delegation"). It is
// not chained, since a runtime starts all plugins of a list for every pod, and most pods have none. (libcni's own package for this
// would bring tracing libraries into a process that lives for milliseconds.)
type HostPorts struct {
	// Environ is the plugin's environment, with CNI_COMMAND and CNI_PATH.
	Environ []string
}

// Wanted tells whether the runtime asks for host ports in a network configuration.
func Wanted(config []byte) bool {
	var conf struct {
		RuntimeConfig struct {
			PortMappings []json.RawMessage `json:"portMappings"`
		} `json:"runtimeConfig"`
	}
	// What cannot be read is the node agent's to refuse.
	return json.Unmarshal(config, &conf) == nil && len(conf.RuntimeConfig.PortMappings) > 0
}

// Do runs portmap with a network configuration, into which result goes as the previous plugin's unless it is empty. The error
// is a *types.Error for the runtime.
func (h HostPorts) Do(ctx context.Context, command string, config []byte, result json.RawMessage) error {
	stdin, err := portmapConfig(config, result)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "host ports: "+err.Error(), "")
	}
	path, err := h.find()
	if err != nil {
		return types.NewError(protocol.ErrPlumbing, "host ports: "+err.Error(), "")
	}
	ctx, cancel := context.WithTimeout(ctx, LimitsOf(command).Total)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = h.environ(command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err = cmd.Run()
	if err == nil {
		return nil
	}
	var said types.Error
	if json.Unmarshal(stdout.Bytes(), &said) == nil && said.Code != 0 {
		said.Msg = "host ports: " + names.CNIPortMap + ": " + said.Msg
		return &said
	}
	return types.NewError(protocol.ErrPlumbing, fmt.Sprintf("host ports: %s: %v", path, err), strings.TrimSpace(stderr.String()))
}

func portmapConfig(config []byte, result json.RawMessage) ([]byte, error) {
	var conf map[string]json.RawMessage
	if err := json.Unmarshal(config, &conf); err != nil {
		return nil, fmt.Errorf("network configuration: %w", err)
	}
	conf["type"] = json.RawMessage(`"` + names.CNIPortMap + `"`)
	if len(result) > 0 {
		conf["prevResult"] = result
	}
	return json.Marshal(conf)
}

// find looks in CNI_PATH.
func (h HostPorts) find() (string, error) {
	dirs := ""
	for _, pair := range h.Environ {
		if value, ok := strings.CutPrefix(pair, "CNI_PATH="); ok {
			dirs = value
		}
	}
	for _, dir := range filepath.SplitList(dirs) {
		path := filepath.Join(dir, names.CNIPortMap)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", errors.New("there is no " + names.CNIPortMap + " in " + dirs)
}

// environ is the plugin's environment with another command: the rollback of an ADD is a DEL.
func (h HostPorts) environ(command string) []string {
	const key = "CNI_COMMAND="
	out := []string{key + command}
	for _, pair := range h.Environ {
		if !strings.HasPrefix(pair, key) {
			out = append(out, pair)
		}
	}
	return out
}
