package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// accessVariable is the environment's default for --access.
const accessVariable = "KUBECTL_OVN_ACCESS"

// Words for --access besides commands.
const (
	accessPods  = "pods"
	accessLocal = "local"
)

// globals are the flags that all commands have.
type globals struct {
	kubeconfig, context, namespace  string
	format                          string
	access, controlPlane, installed string
}

func addGlobals(cmd *cobra.Command) *globals {
	g := &globals{}
	fs := cmd.PersistentFlags()
	fs.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG or ~/.kube/config)")
	fs.StringVar(&g.context, "context", "", "context of the kubeconfig file")
	fs.StringVarP(&g.namespace, "namespace", "n", "", "namespace of objects that are named without one; restricts lists")
	fs.StringVarP(&g.format, "output", "o", string(output.Table), "format: "+strings.Join(output.Formats(), ", "))
	fs.StringVar(&g.access, "access", "", "where OVN's programs run: pods, local, or a command that reaches {host} (default: $"+accessVariable+", else pods)")
	fs.StringVar(&g.controlPlane, "control-plane", "", "machine with the databases, with --access COMMAND")
	fs.StringVar(&g.installed, "ovn-namespace", names.Namespace, "namespace of the network's pods")
	complete(cmd, "output", output.Formats()...)
	complete(cmd, "access", accessPods, accessLocal)
	register(cmd, "context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return g.contexts(), noFiles
	})
	g.completeFlag(cmd, "namespace", completer.namespaces)
	g.completeFlag(cmd, "ovn-namespace", completer.namespaces)
	g.completeFlag(cmd, "control-plane", completer.nodes)
	return g
}

// complete offers words for a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	register(cmd, flag, cobra.FixedCompletions(words, noFiles))
}

// register gives a flag what completes it.
func register(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	// It fails for flags that do not exist only, which a test would find.
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

// completeFlag offers what the cluster has for a flag.
func (g *globals) completeFlag(cmd *cobra.Command, flag string, of func(c completer, ctx context.Context, typed string) []string) {
	register(cmd, flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		c, ok := g.completer()
		if !ok {
			return nil, noFiles
		}
		return of(c, cmd.Context(), typed), noFiles
	})
}

// contexts are those of the kubeconfig file.
func (g *globals) contexts() []string {
	raw, err := g.clientConfig().RawConfig()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(raw.Contexts))
}

func (g *globals) clientConfig() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = g.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: g.context})
}

// cluster connects to the API server.
func (g *globals) cluster() (*rest.Config, kubernetes.Interface, error) {
	cfg, err := g.clientConfig().ClientConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("kubeconfig: %w", err)
	}
	cfg.QPS = -1 // The API server's own priority and fairness is the limit.
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("kubernetes client: %w", err)
	}
	return cfg, client, nil
}

// defaultNamespace is that of objects named without one.
func (g *globals) defaultNamespace() string {
	if g.namespace != "" {
		return g.namespace
	}
	namespace, _, err := g.clientConfig().Namespace()
	if err != nil {
		return metav1.NamespaceDefault
	}
	return namespace
}

// reach returns the way to OVN's programs.
func (g *globals) reach() (access.Access, error) {
	switch how := cmp.Or(g.access, os.Getenv(accessVariable), accessPods); how {
	case accessPods:
		cfg, client, err := g.cluster()
		if err != nil {
			return nil, err
		}
		return &access.Pods{Config: cfg, Client: client.CoreV1(), Namespace: g.installed}, nil
	case accessLocal:
		here, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("name of this machine: %w", err)
		}
		return &access.Machines{Here: here}, nil
	default:
		words := strings.Fields(how)
		if len(words) == 0 {
			return nil, fmt.Errorf("--access %q: want pods, local or a command", how)
		}
		return &access.Machines{Through: words, ControlPlane: g.controlPlane}, nil
	}
}

// connect returns the cluster's API and the way to OVN's programs.
func (g *globals) connect() (kubernetes.Interface, access.Access, error) {
	_, client, err := g.cluster()
	if err != nil {
		return nil, nil, err
	}
	a, err := g.reach()
	return client, a, err
}

// printer is for the command's output.
func (g *globals) printer(cmd *cobra.Command) (*output.Printer, error) {
	f, err := output.Parse(g.format)
	if err != nil {
		return nil, err
	}
	return output.NewPrinter(cmd.OutOrStdout(), f), nil
}
