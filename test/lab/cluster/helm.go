package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/release"
)

// Helm says what is installed with plan.InstallHelm.
type Helm struct {
	// Image is an archive with the project's image; empty: one is made of Options.BinDir.
	Image string
	// Chart is a chart's folder or archive; empty: that of the repository.
	Chart string
	// Set are values of the chart, KEY=VALUE.
	Set []string
}

// checkHelm finds what would fail later, and less clearly.
func (o *Options) checkHelm() error {
	if o.Install != plan.InstallHelm {
		if o.Helm.Image != "" || o.Helm.Chart != "" || len(o.Helm.Set) > 0 {
			return errors.New("image, chart and values belong to --install helm")
		}
		return nil
	}
	for _, file := range []string{o.Helm.Image, o.Helm.Chart} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("install with helm: %w", err)
		}
	}
	return nil
}

// productImage returns the archive with the project's image, and notes the image's name.
func (l *Lab) productImage(ctx context.Context, ao artifact.Options, o Options) (string, error) {
	archive := o.Helm.Image
	if archive == "" {
		var err error
		if archive, err = image.Product(ctx, ao, o.BinDir, DefaultTag); err != nil {
			return "", err
		}
	}
	names, err := image.Names(archive)
	if err != nil {
		return "", err
	}
	l.cfg.Helm.Image = names[0]
	return archive, nil
}

// Image returns the full name of the project's image, in a lab with plan.InstallHelm.
func (l *Lab) Image() string { return l.cfg.Helm.Image }

// ControlPlaneNodes returns the names of the nodes on which the project's control plane runs, in a lab with plan.InstallHelm.
func (l *Lab) ControlPlaneNodes() []string { return l.cfg.ControlPlaneNodes() }

// Release returns a client of the chart's release in the lab.
func (l *Lab) Release() *release.Client {
	return &release.Client{Name: plan.ReleaseName, Namespace: plan.ReleaseNamespace, Kubeconfig: l.Kubeconfig(), Timeout: waitLimit,
		Wrap: func(c *rest.Config) *rest.Config {
			c.QPS, c.Dial = -1, l.dialControlPlane
			return c
		}}
}

// Values returns the chart's values for this lab, changed by further settings.
func (l *Lab) Values(set ...string) (map[string]any, error) {
	values, err := l.cfg.Values()
	if err != nil {
		return nil, err
	}
	return release.Override(values, slices.Concat(l.cfg.Helm.Set, set)...)
}

// Chart returns the chart that the lab was made with.
func (l *Lab) Chart() string { return l.cfg.Helm.Chart }

// installChart labels the nodes for the control plane and installs the chart. Pods get ready later.
func (l *Lab) installChart(ctx context.Context) error {
	client, err := l.Client()
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:""}}}`, plan.ControlPlaneLabel)
	for _, node := range l.ControlPlaneNodes() {
		if _, err := client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("label %s for the control plane: %w", node, err)
		}
	}
	values, err := l.Values()
	if err != nil {
		return err
	}
	return l.Release().Install(ctx, release.Install{Chart: l.cfg.Helm.Chart, Values: values})
}

// WaitRelease waits until all pods of the chart are ready.
func (l *Lab) WaitRelease(ctx context.Context) error {
	client, err := l.Client()
	if err != nil {
		return err
	}
	return l.until(ctx, nil, func(ctx context.Context) (bool, string) {
		pods, err := client.CoreV1().Pods(plan.ReleaseNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		var missing []string
		for _, p := range pods.Items {
			if why := notReady(&p); why != "" {
				missing = append(missing, p.Name+" on "+p.Spec.NodeName+": "+why)
			}
		}
		return len(pods.Items) > 0 && len(missing) == 0, fmt.Sprintf("%d pods, not ready: %s", len(pods.Items), strings.Join(missing, "; "))
	})
}

// podLogs is where kubelet keeps the logs of containers, in a machine's directory.
const podLogs = machine.VarDir + "/log/pods"

// containerLog returns the newest log of a container of the chart's pods, or nothing. dir is the machine's directory.
func containerLog(dir, container string) string {
	files, err := filepath.Glob(filepath.Join(dir, podLogs, plan.ReleaseNamespace+"_*", container, "*.log"))
	if err != nil {
		return ""
	}
	newest, when := "", time.Time{}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.ModTime().After(when) {
			newest, when = f, st.ModTime()
		}
	}
	return newest
}

// notReady says why a pod is not ready, or nothing.
func notReady(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	why := string(p.Status.Phase)
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			why += fmt.Sprintf(" %s (%s %s)", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
		case !c.Ready:
			why += " " + c.Name
		}
	}
	return why
}
