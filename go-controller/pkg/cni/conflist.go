package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

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
	Type string `json:"type"`
}

func confListText() []byte {
	data, err := json.MarshalIndent(confList{
		CNIVersion:  "1.0.0",
		CNIVersions: []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"},
		Name:        names.CNINetworkName,
		Plugins:     []plugin{{Type: names.CNIPlugin}},
	}, "", "  ")
	if err != nil {
		panic(err) // strings only
	}
	return append(data, '\n')
}

// WriteConfList makes the network known to the container runtime: from then on the node becomes Ready and
// pods are started. A file with the same contents is not touched. A reader sees all of the file or none.
func WriteConfList(dir string) error {
	path, text := filepath.Join(dir, names.CNIConfFile), confListText()
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	// A name that runtimes do not read: they take *.conf, *.conflist and *.json.
	f, err := os.CreateTemp(dir, "."+names.CNIConfFile+".*.tmp")
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
