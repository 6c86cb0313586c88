package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

const envPrefix = "OVNKUBE_"

// Load fills the flags of a parsed fs that were not given from environ ("KEY=value" pairs, as
// os.Environ gives them), then from the file of --config-file. The error names the source, the
// key, the value and what is allowed.
func Load(fs *pflag.FlagSet, environ []string) error {
	if err := loadEnvironment(fs, environ); err != nil {
		return err
	}
	path, err := fs.GetString(configFileFlag)
	if err != nil || path == "" {
		return err
	}
	return loadFile(fs, path)
}

// EnvName is the environment variable of a flag: OVNKUBE_CLUSTER_SUBNETS for cluster-subnets.
func EnvName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func loadEnvironment(fs *pflag.FlagSet, environ []string) error {
	values := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, envPrefix) {
			values[k] = v
		}
	}
	var failed error
	fs.VisitAll(func(f *pflag.Flag) {
		v, ok := values[EnvName(f.Name)]
		if !ok || f.Changed || failed != nil {
			return
		}
		if err := fs.Set(f.Name, v); err != nil {
			failed = fmt.Errorf("environment variable %s=%q: %w", EnvName(f.Name), v, err)
		}
	})
	return failed
}

func loadFile(fs *pflag.FlagSet, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	for key, value := range values {
		if err := setFromFile(fs, key, value); err != nil {
			return fmt.Errorf("configuration file %s: %w", path, err)
		}
	}
	return nil
}

func setFromFile(fs *pflag.FlagSet, key string, value any) error {
	flag := fs.Lookup(key)
	if flag == nil || key == configFileFlag {
		return fmt.Errorf("unknown key %q; known keys: %s", key, strings.Join(knownKeys(fs), ", "))
	}
	if flag.Changed {
		return nil
	}
	text, err := fileText(value)
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	if err := fs.Set(key, text); err != nil {
		return fmt.Errorf("key %q, value %q: %w", key, text, err)
	}
	return nil
}

// fileText turns a YAML scalar, or a list of scalars, into the flag's text.
func fileText(value any) (string, error) {
	switch v := value.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			text, err := fileText(item)
			if err != nil {
				return "", err
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), nil
	case string, bool, float64:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("value %v is not a string, number, boolean or list", value)
}

func knownKeys(fs *pflag.FlagSet) []string {
	var keys []string
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != configFileFlag && f.Name != "help" {
			keys = append(keys, f.Name)
		}
	})
	slices.Sort(keys)
	return keys
}
