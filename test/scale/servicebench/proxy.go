package servicebench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
)

// kubeProxy is the name of the program that the figures are compared with.
const kubeProxy = "kube-proxy"

// shield keeps what is sent to services in a pod's network from leaving it, but for what kube-proxy has given another destination: the
// pod's node would answer in its place. It is also where kube-proxy runs, so that its rules meet nobody else's.
func (b *bench) shield(ctx context.Context) error {
	rules := fmt.Sprintf("add table ip shield; add chain ip shield out { type filter hook output priority 0; }; add rule ip shield out ip daddr %s counter drop",
		strings.Join(b.Lab.Family().Services(), ","))
	if out, err := traffic.Output(ctx, b.shielded, "nft", rules); err != nil {
		return fmt.Errorf("shield %s: %w: %s", b.shielded, err, out)
	}
	return nil
}

// proxyPath is where the node has the program.
const proxyPath = "/opt/" + kubeProxy

// installProxy copies kube-proxy to the node.
func (b *bench) installProxy() error {
	data, err := os.ReadFile(b.proxyBinary)
	if err != nil {
		return fmt.Errorf("install %s: %w", kubeProxy, err)
	}
	to, err := b.Lab.Path(clientNode, proxyPath)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// proxy is a running kube-proxy.
type proxy struct {
	*cluster.Process
	log string
}

// startProxy runs kube-proxy in the shielded pod's network, as clusters run it; only the kernel's limits on connections are left alone.
// It is a process of the node, and ends with it at the latest.
func (b *bench) startProxy(ctx context.Context) (*proxy, error) {
	p := &proxy{log: b.Lab.LogFile(clientNode, kubeProxy)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.Process, err = b.Lab.Start(ctx, clientNode, cluster.IO{Stdout: log, Stderr: log},
		"nsenter", "--net=/run/netns/"+filepath.Base(b.shielded.NetNS),
		proxyPath, "--kubeconfig=/etc/kubernetes/admin.kubeconfig", "--hostname-override="+clientNode,
		"--proxy-mode=nftables", "--cluster-cidr="+clusterCIDR,
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
		"--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249")
	return p, err
}

// clusterCIDR is the pod network.
const clusterCIDR = "10.128.0.0/14"

// stopProxy ends kube-proxy and removes its rules, which it leaves.
func (b *bench) stopProxy(p *proxy) error {
	_ = p.Kill()
	<-p.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if out, err := traffic.Output(ctx, b.shielded, "nft", "add table ip kube-proxy; delete table ip kube-proxy"); err != nil {
		return fmt.Errorf("remove kube-proxy's rules: %w: %s", err, out)
	}
	return nil
}

// tail returns the last lines of kube-proxy's log.
func (p *proxy) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
