package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// ConfList is the network configuration list that makes the network known to the container runtime.
type ConfList struct {
	// Dir is the runtime's folder of network configurations.
	Dir string
	// PluginDir is the runtime's folder of plugins. If portmap is there the plugin serves host ports, with its help;
	// empty: it is not looked for.
	PluginDir string
}

// confList is the network configuration list of the CNI specification.
type confList struct {
	CNIVersion string `json:"cniVersion"`
	// CNIVersions lets runtimes choose the highest that they know; those that know 1.1 call STATUS and GC, older ones
	// read CNIVersion alone.
	CNIVersions []string `json:"cniVersions"`
	Name        string   `json:"name"`
	Plugins     []plugin `json:"plugins"`
}

type plugin struct {
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
}

// fallbackVersion is what runtimes take that do not read cniVersions.
const fallbackVersion = "1.0.0"

// portmapLimit is how long portmap may take to say what it speaks.
const portmapLimit = 10 * time.Second

// confListText returns the list. portmap has the versions of the specification that it speaks; without any there are no host
// ports. The plugin hands portmap what it gets itself, so only common versions are offered.
func confListText(portmap []string) []byte {
	list := confList{
		CNIVersion:  fallbackVersion,
		CNIVersions: []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"},
		Name:        names.CNINetworkName,
		Plugins:     []plugin{{Type: names.CNIPlugin}},
	}
	if slices.Contains(portmap, fallbackVersion) {
		list.CNIVersions = slices.DeleteFunc(list.CNIVersions, func(v string) bool { return !slices.Contains(portmap, v) })
		list.Plugins[0].Capabilities = map[string]bool{"portMappings": true}
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		panic(err) // strings only
	}
	return append(data, '\n')
}

// portmapVersions asks the plugin for the versions of the specification that it speaks: none if it is not there.
func (c ConfList) portmapVersions(ctx context.Context) ([]string, error) {
	path := c.portmap()
	if c.PluginDir == "" {
		return nil, nil
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, portmapLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{"CNI_COMMAND=VERSION"}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"` + fallbackVersion + `"}`)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s, for host ports, what it speaks: %w", path, err)
	}
	info, err := (&version.PluginDecoder{}).Decode(out)
	if err != nil {
		return nil, fmt.Errorf("ask %s, for host ports, what it speaks: %w", path, err)
	}
	return info.SupportedVersions(), nil
}

func (c ConfList) portmap() string { return filepath.Join(c.PluginDir, names.CNIPortMap) }

// write makes the network known to the container runtime: from then on the node becomes Ready and
// pods are started. A file with the same contents is not touched. A reader sees all of the file or none.
func (c ConfList) write(text []byte) error {
	path := filepath.Join(c.Dir, names.CNIConfFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	// A name that runtimes do not read: they take *.conf, *.conflist and *.json.
	f, err := os.CreateTemp(c.Dir, "."+names.CNIConfFile+".*.tmp")
	if err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("CNI configuration: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// RemoveConfList makes the node NotReady for the container runtime. A file that is not there is fine.
func RemoveConfList(dir string) error {
	err := os.Remove(filepath.Join(dir, names.CNIConfFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	return nil
}
