// Package release installs, changes and removes the project's Helm chart in a cluster, as people do it with the helm command.
package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/storage/driver"
	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Client changes one release in one cluster.
type Client struct {
	// Name is the release's, Namespace where its objects are; the namespace is created.
	Name, Namespace string
	// Kubeconfig is the path of a kubeconfig file; Wrap changes the configuration that is read from it, and may be nil.
	Kubeconfig string
	Wrap       func(*rest.Config) *rest.Config
	// Timeout bounds waiting for objects to be ready, and for hooks.
	Timeout time.Duration
}

// Install says what to install.
type Install struct {
	// Chart is a folder or an archive.
	Chart string
	// Values override those of the chart.
	Values map[string]any
	// Wait waits until all objects are ready.
	Wait bool
}

// Override returns values changed by settings as --set of the helm command takes them: "a.b=c", "a.list={x,y}".
func Override(values map[string]any, settings ...string) (map[string]any, error) {
	if values == nil {
		values = map[string]any{}
	}
	for _, s := range settings {
		if err := strvals.ParseInto(s, values); err != nil {
			return nil, fmt.Errorf("--set %s: %w", s, err)
		}
	}
	return values, nil
}

func (c *Client) configuration() (*action.Configuration, error) {
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &c.Kubeconfig, &c.Namespace
	if c.Wrap != nil {
		flags.WrapConfigFn = c.Wrap
	}
	cfg := new(action.Configuration)
	debug := func(format string, args ...any) { klog.V(4).InfoS("Helm", "message", fmt.Sprintf(format, args...)) }
	if err := cfg.Init(flags, c.Namespace, "secret", debug); err != nil {
		return nil, fmt.Errorf("prepare helm: %w", err)
	}
	return cfg, nil
}

// Install installs the chart, or upgrades the release if there is one already. Values are the whole of what differs from the
// chart's: nothing is taken over from an earlier release.
func (c *Client) Install(ctx context.Context, in Install) error {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	ch, err := loader.Load(in.Chart)
	if err != nil {
		return fmt.Errorf("load the chart %s: %w", in.Chart, err)
	}
	_, err = cfg.Releases.Last(c.Name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		install := action.NewInstall(cfg)
		install.ReleaseName, install.Namespace, install.CreateNamespace = c.Name, c.Namespace, true
		install.Wait, install.Timeout = in.Wait, c.Timeout
		if _, err := install.RunWithContext(ctx, ch, in.Values); err != nil {
			return fmt.Errorf("helm install %s: %w", c.Name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for release %s: %w", c.Name, err)
	}
	upgrade := action.NewUpgrade(cfg)
	upgrade.Namespace, upgrade.Wait, upgrade.Timeout = c.Namespace, in.Wait, c.Timeout
	if _, err := upgrade.RunWithContext(ctx, c.Name, ch, in.Values); err != nil {
		return fmt.Errorf("helm upgrade %s: %w", c.Name, err)
	}
	return nil
}

// Rollback goes back to the revision before the present one and waits until all objects are ready.
func (c *Client) Rollback() error {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	rollback := action.NewRollback(cfg)
	rollback.Wait, rollback.Timeout = true, c.Timeout
	if err := rollback.Run(c.Name); err != nil {
		return fmt.Errorf("helm rollback %s: %w", c.Name, err)
	}
	return nil
}

// Uninstall removes the release and waits until its objects are gone.
func (c *Client) Uninstall() error {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	uninstall := action.NewUninstall(cfg)
	uninstall.Wait, uninstall.Timeout = true, c.Timeout
	if _, err := uninstall.Run(c.Name); err != nil {
		return fmt.Errorf("helm uninstall %s: %w", c.Name, err)
	}
	return nil
}

// Revision returns the number of the present revision.
func (c *Client) Revision() (int, error) {
	cfg, err := c.configuration()
	if err != nil {
		return 0, err
	}
	last, err := cfg.Releases.Last(c.Name)
	if err != nil {
		return 0, fmt.Errorf("look for release %s: %w", c.Name, err)
	}
	return last.Version, nil
}
