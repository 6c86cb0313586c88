// Package demo shows a lab to a person: an application over all nodes whose pods reach each other,
// and a node as an operator sees it.
package demo

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
)

//go:embed hello.yaml
var manifest string

const (
	namespace = "demo"
	port      = 8080
	pings     = 3
)

// pod is one instance of the application.
type pod struct {
	name, node string
	addresses  []netip.Addr
}

// Show deploys the application, waits for it, and prints what there is to see to out.
func Show(ctx context.Context, lab *cluster.Lab, out io.Writer) error {
	s := &show{lab: lab, out: out}
	for _, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"The application: a pod on every node", s.deploy},
		{"Pods reach each other, by name and address", s.matrix},
		{"A node as an operator sees it", s.node},
		{"The logical network", s.logical},
	} {
		fmt.Fprintf(out, "\n━━ %s\n\n", step.title)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(step.title), err)
		}
	}
	s.next()
	return nil
}

type show struct {
	lab  *cluster.Lab
	out  io.Writer
	pods []pod
}

func (s *show) deploy(ctx context.Context) error {
	if err := s.lab.RunKubectl(ctx, cluster.IO{Stdin: strings.NewReader(manifest), Stdout: io.Discard, Stderr: s.out}, "apply", "-f", "-"); err != nil {
		return err
	}
	if _, err := s.lab.Kubectl(ctx, "-n", namespace, "rollout", "status", "daemonset/hello", "--timeout=60s"); err != nil {
		return err
	}
	client, err := s.lab.Client()
	if err != nil {
		return err
	}
	list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=hello"})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  POD\tNODE\tADDRESSES")
	for _, item := range list.Items {
		p, err := parsePod(item)
		if err != nil {
			return err
		}
		s.pods = append(s.pods, p)
		fmt.Fprintf(table, "  %s\t%s\t%v\n", p.name, p.node, p.addresses)
	}
	return table.Flush()
}

func parsePod(item corev1.Pod) (pod, error) {
	p := pod{name: item.Name, node: item.Spec.NodeName}
	for _, ip := range item.Status.PodIPs {
		a, err := netip.ParseAddr(ip.IP)
		if err != nil {
			return pod{}, fmt.Errorf("address of pod %s: %w", item.Name, err)
		}
		p.addresses = append(p.addresses, a)
	}
	return p, nil
}

func (s *show) matrix(ctx context.Context) error {
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  FROM\tTO\tADDRESS\tANSWERED BY\tROUND TRIP (min/avg/max ms)")
	for _, from := range s.pods {
		for _, to := range s.pods {
			for _, address := range to.addresses {
				name, rtt, err := s.reach(ctx, from, address)
				if err != nil {
					return fmt.Errorf("%s on %s to %s on %s: %w", from.name, from.node, address, to.node, err)
				}
				fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", from.node, to.node, address, name, rtt)
			}
		}
	}
	return table.Flush()
}

// reach asks the application at address for its name, over HTTP, and measures the round trip.
func (s *show) reach(ctx context.Context, from pod, address netip.Addr) (name, rtt string, err error) {
	url := "http://" + netip.AddrPortFrom(address, port).String() + "/hostname"
	name, err = s.inPod(ctx, from, "wget", "-q", "-T", "5", "-O", "-", url)
	if err != nil {
		return "", "", err
	}
	text, err := s.inPod(ctx, from, "ping", "-q", "-c", fmt.Sprint(pings), "-i", "0.2", address.String())
	if err != nil {
		return "", "", err
	}
	return strings.TrimSpace(name), roundTrip(text), nil
}

// roundTrip picks "min/avg/max" out of ping's summary.
func roundTrip(text string) string {
	_, figures, ok := strings.Cut(text, "min/avg/max")
	if !ok {
		return "?"
	}
	_, figures, _ = strings.Cut(figures, "= ")
	figures, _, _ = strings.Cut(figures, " ms")
	return figures
}

func (s *show) inPod(ctx context.Context, p pod, argv ...string) (string, error) {
	return s.lab.Kubectl(ctx, append([]string{"-n", namespace, "exec", p.name, "--"}, argv...)...)
}

func (s *show) node(ctx context.Context) error {
	node := s.lab.Nodes()[0]
	for _, argv := range [][]string{
		{"ovs-vsctl", "show"},
		{"ip", "addr", "show", "ovn-k8s-mp0"},
		{"ip", "route"},
	} {
		if err := s.command(ctx, node, argv...); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) logical(ctx context.Context) error { return s.command(ctx, "cp", "ovn-nbctl", "show") }

// command shows a command line and what it prints on a machine.
func (s *show) command(ctx context.Context, machine string, argv ...string) error {
	text, err := s.lab.Exec(ctx, machine, argv...)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s# %s\n", machine, strings.Join(argv, " "))
	for line := range strings.Lines(text) {
		fmt.Fprint(s.out, "    ", line)
	}
	fmt.Fprintln(s.out)
	return nil
}

func (s *show) next() {
	flag := ""
	if name := s.lab.Name(); name != cluster.DefaultName {
		flag = " --name " + name
	}
	fmt.Fprintf(s.out, `
━━ The cluster stays up. What to try next

  _output/bin/ovnlab kubectl%[1]s get pods -A -o wide      Kubernetes, as administrator
  _output/bin/ovnlab exec%[1]s node1 -- bash               a shell on a node: ovs-vsctl, ovn-appctl, ip, nft, tcpdump
  _output/bin/ovnlab exec%[1]s node1 -- ip addr flush dev ovn-k8s-mp0
                                                      … and look again: it is back
  _output/bin/ovnlab kill%[1]s ovnkube-master              pods keep talking; it comes back and writes nothing
  _output/bin/ovnlab node add%[1]s node4                   another node, while all runs
  _output/bin/ovnlab status%[1]s                           every process, its restarts and memory
  make lab-down                                       takes everything away
`, flag)
}
