package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/plan"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

func newPlan(g *globals) *cobra.Command {
	var file string
	var remove bool
	cmd := &cobra.Command{
		Use:   "plan -f FILE",
		Short: "What rows a manifest would add, change or remove, without applying it",
		Long: `plan shows what applying a manifest of NetworkPolicies, Services, Pods or Namespaces would change in the northbound
database: rows that are added, changed or removed, and values that are put into sets or taken out. Nothing is written.`,
		Example: `  kubectl ovn plan -f policy.yaml
  kubectl get networkpolicy web -o yaml | kubectl ovn plan --delete -f -`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "manifest, - for the standard input")
	cmd.Flags().BoolVar(&remove, "delete", false, "plan for the deletion of the objects")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		printer, err := g.printer(cmd)
		if err != nil {
			return err
		}
		documents, err := readManifest(cmd, file)
		if err != nil {
			return err
		}
		v, err := g.view(cmd.Context())
		if err != nil {
			return err
		}
		a, err := g.reach()
		if err != nil {
			return err
		}
		features, err := database.Features(cmd.Context(), a, ovndb.NB())
		if err != nil {
			return err
		}
		report, err := plan.Make(plan.Options{Objects: v.Objects, NB: v.NB, Features: features, Namespace: g.defaultNamespace(), Remove: remove}, documents)
		if err != nil {
			return err
		}
		return printPlan(printer, report)
	}
	return cmd
}

func printPlan(p *output.Printer, r *plan.Report) error {
	if p.ForPeople() && len(r.Changes) == 0 {
		if _, err := fmt.Fprintln(p.Out, "Nothing would change."); err != nil {
			return err
		}
	} else if err := p.Print(r.Result()); err != nil {
		return err
	}
	for _, note := range r.Notes {
		if !p.ForPeople() {
			break
		}
		if _, err := fmt.Fprintln(p.Out, "note:", note); err != nil {
			return err
		}
	}
	return nil
}

func readManifest(cmd *cobra.Command, file string) ([]byte, error) {
	switch file {
	case "":
		return nil, errors.New("which manifest? Name it with -f, or - for the standard input")
	case "-":
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(file)
}
