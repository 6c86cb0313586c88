package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func newExplain(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "explain KIND NAME | KIND/[NAMESPACE/]NAME | UUID",
		Short: "What is in the northbound database because of an object; which object a row or flow comes from",
		Long: `explain lists every row of the northbound database that comes from an object (` + strings.Join(inspect.Kinds(), ", ") + `):
its own rows, rows that it shares with other objects, and rows of others that it is a member of.

Given the UUID of a northbound row or of a logical flow, or its first eight digits as ovn-trace and cookies of
OpenFlow flows show them, it leads back to the object.`,
		Example: `  kubectl ovn explain pod web -n shop
  kubectl ovn explain networkpolicy/shop/web-from-blue
  kubectl ovn explain 55f077ec`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: g.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			printer, err := g.printer(cmd)
			if err != nil {
				return err
			}
			a, err := g.reach()
			if err != nil {
				return err
			}
			kind, name, err := g.object(args)
			uuid, isUUID := inspect.ParseUUID(args[0])
			if err != nil && (!isUUID || len(args) > 1) {
				return err
			}
			nb, err := database.Northbound(cmd.Context(), a)
			if err != nil {
				return err
			}
			var facts []inspect.Fact
			if kind != "" {
				facts, err = inspect.Explain(nb, kind, name, g.needs(cmd.Context(), kind, name)...)
			} else {
				facts, err = inspect.Origin(cmd.Context(), a, nb, uuid)
			}
			if err != nil {
				return err
			}
			return printer.Print(inspect.FactsResult(facts))
		},
	}
}

// object reads the words that name an object. The name has its namespace before it, where the kind has one.
func (g *globals) object(args []string) (kind, name string, err error) {
	word, rest, _ := strings.Cut(args[0], "/")
	kind, known := inspect.ParseKind(word)
	switch {
	case !known:
		return "", "", fmt.Errorf("%q is neither a kind (%s) nor a UUID", args[0], strings.Join(inspect.Kinds(), ", "))
	case len(args) == 2 && rest != "":
		return "", "", fmt.Errorf("%q and %q: want KIND NAME or KIND/NAME", args[0], args[1])
	case len(args) == 2:
		rest = args[1]
	case rest == "":
		return "", "", fmt.Errorf("%s without a name", kind)
	}
	if kind == "node" || kind == "namespace" || strings.Contains(rest, "/") {
		return kind, rest, nil
	}
	return kind, names.ObjectName(g.defaultNamespace(), rest), nil
}

// needs are what a policy needs besides what is its own. Rows of one that is gone, or cannot be read, are explained without.
func (g *globals) needs(ctx context.Context, kind, name string) []string {
	_, client, err := g.cluster()
	if err != nil || kind != "networkpolicy" {
		return nil
	}
	namespace, name := names.SplitObjectName(name)
	p, err := client.NetworkingV1().NetworkPolicies(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return inspect.PolicyNames(p)
}
