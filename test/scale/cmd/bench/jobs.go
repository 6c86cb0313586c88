package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/scale/cnibench"
	"github.com/ovnkube/ovnkube/test/scale/datapath"
	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
	"github.com/ovnkube/ovnkube/test/scale/policybench"
	"github.com/ovnkube/ovnkube/test/scale/report"
	"github.com/ovnkube/ovnkube/test/scale/scenario"
	"github.com/ovnkube/ovnkube/test/scale/servicebench"
)

// job is a scenario and how to run it.
type job struct {
	id, title string
	run       func(context.Context, scenario.Env) (*report.Result, error)
}

func jobs() []job {
	var all []job
	for _, s := range scenario.All() {
		all = append(all, job{s.ID, s.Title, func(ctx context.Context, env scenario.Env) (*report.Result, error) {
			if s.Debian != "" {
				root, err := artifact.EnsureRoot(ctx, artifact.Options{Root: env.Root}, s.Debian)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.ID, err)
				}
				env.OVN.Root = root
			}
			return enter(ctx, s.ID, env)
		}})
	}
	for _, c := range []cnibench.Options{
		{Options: inlab.Options{ID: "cni", Title: "Pods in the lab, three nodes, the machine's OVN"}},
		{Options: inlab.Options{ID: "cni-debian13", Title: "Pods in the lab, three nodes, OVN of Debian 13", Debian: "trixie"}},
	} {
		all = append(all, job{c.ID, c.Title, func(ctx context.Context, env scenario.Env) (*report.Result, error) {
			c.Root, c.BinDir = env.Root, filepath.Dir(env.Master)
			c.Serial, c.AtOnce, c.Rounds = 50, 60, 3
			return cnibench.Run(ctx, c)
		}})
	}
	for _, s := range []servicebench.Options{
		{Options: inlab.Options{ID: "service-latency", Title: "Services in the lab, two nodes, with kube-proxy (nftables) beside"}, ProxyCreated: 15, ProxyDeleted: 8},
		{Options: inlab.Options{ID: "service-latency-debian13", Title: "Services in the lab, two nodes, OVN of Debian 13", Debian: "trixie"}},
	} {
		all = append(all, job{s.ID, s.Title, func(ctx context.Context, env scenario.Env) (*report.Result, error) {
			s.Root, s.BinDir = env.Root, filepath.Dir(env.Master)
			s.Others, s.Created, s.Deleted, s.Changes = []int{0, 500, 1000}, 100, 20, 100
			return servicebench.Run(ctx, s)
		}})
	}
	all = append(all, job{policyLatencyID, policyLatencyTitle, func(ctx context.Context, env scenario.Env) (*report.Result, error) {
		return policybench.Run(ctx, policybench.Options{
			Options: inlab.Options{ID: policyLatencyID, Title: policyLatencyTitle, Root: env.Root, BinDir: filepath.Dir(env.Master)},
			Samples: 100, Pods: 1000, Policies: 100,
		})
	}})
	return append(all, job{datapathID, datapathTitle, func(ctx context.Context, env scenario.Env) (*report.Result, error) {
		return datapath.Run(ctx, datapath.Options{
			Options: inlab.Options{ID: datapathID, Title: datapathTitle, Root: env.Root, BinDir: filepath.Dir(env.Master)},
			Rounds:  9, Turn: time.Second,
		})
	}})
}

const policyLatencyID, policyLatencyTitle = "policy-latency", "Policies in the lab, two nodes, alone and among 1,000 pods and 100 policies"

const datapathID, datapathTitle = "datapath", "Data path in the lab, two nodes, userspace Open vSwitch"

// order is what the outer process tells the one in the namespaces.
type order struct {
	ID  string
	Env scenario.Env
}

// enter runs a scenario in namespaces of its own; the result comes back through a pipe.
func enter(ctx context.Context, id string, env scenario.Env) (*report.Result, error) {
	text, err := json.Marshal(order{ID: id, Env: env})
	if err != nil {
		return nil, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for the result: %w", err)
	}
	defer in.Close()
	answer := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(in) // a lost answer shows as one that cannot be decoded
		answer <- data
	}()
	err = errors.Join(harness.Enter(ctx, out, string(text)), out.Close())
	data := <-answer
	if err != nil {
		return nil, err
	}
	result := &report.Result{}
	if err := json.Unmarshal(data, result); err != nil {
		return nil, fmt.Errorf("result of %s: %w", id, err)
	}
	return result, nil
}

// inside is main in the namespaces.
func inside() error {
	ctx, cancel, err := harness.Setup()
	if err != nil {
		return err
	}
	defer cancel()
	var o order
	if err := json.Unmarshal([]byte(os.Args[1]), &o); err != nil {
		return fmt.Errorf("order from the outer process: %w", err)
	}
	for _, s := range scenario.All() {
		if s.ID != o.ID {
			continue
		}
		result, err := s.Run(ctx, o.Env)
		if err != nil {
			return err
		}
		return result.WriteJSON(os.Stdout)
	}
	return fmt.Errorf("unknown scenario %q", o.ID)
}
