package cni

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// InstallPlugin copies the plugin's file into the container runtime's folder of plugins, where a runtime may be starting the former
// one: it is replaced at once, and not touched when it is the same.
func InstallPlugin(source, dir string) error {
	data, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("CNI plugin: %w", err)
	}
	path := filepath.Join(dir, names.CNIPlugin)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("CNI plugin: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+names.CNIPlugin+".*")
	if err != nil {
		return fmt.Errorf("CNI plugin: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o755), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("CNI plugin: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// RemovePlugin removes what InstallPlugin has put there. A file that is not there is fine.
func RemovePlugin(dir string) error {
	if err := os.Remove(filepath.Join(dir, names.CNIPlugin)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("CNI plugin: %w", err)
	}
	return nil
}
