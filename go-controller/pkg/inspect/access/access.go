// Package access runs commands where the components of the network are: in their pods, or, where they are processes, on the machines
// themselves.
package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// Access runs commands at a place.
type Access interface {
	// Run runs a command and waits for its end. A command that has failed is an *ExitError.
	Run(ctx context.Context, at Place, streams Streams, argv ...string) error
}

// Streams are the standard files of a command; nil ones are empty, or thrown away.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Place is where commands run.
type Place struct {
	// Database is "nb" or "sb": beside a server of that database.
	Database string
	// Node is the name of a node; with Database the one that has the server, empty for any of them.
	Node string
}

// Beside is the place of a database.
func Beside(k ovndb.Kind) Place { return Place{Database: k.Short} }

// Member is the place of a database's server on a node.
func Member(k ovndb.Kind, node string) Place { return Place{Database: k.Short, Node: node} }

// On is the place of a node's Open vSwitch.
func On(node string) Place { return Place{Node: node} }

// String names the place.
func (p Place) String() string {
	switch {
	case p.Database != "" && p.Node != "":
		return "database " + p.Database + " on " + p.Node
	case p.Database != "":
		return "database " + p.Database
	}
	return "node " + p.Node
}

// component and container are those of the pods at a place.
func (p Place) component() (component, container string) {
	switch p.Database {
	case ovndb.NB().Short:
		return names.DatabasePods, names.NorthboundContainer
	case ovndb.SB().Short:
		return names.DatabasePods, names.SouthboundContainer
	}
	return names.NodePods, names.ControllerContainer
}

// ExitError is the end of a command that has failed by itself.
type ExitError struct {
	Argv []string
	Code int
	// Message is what the command said on its standard error, where that was kept.
	Message string
}

// Error says which command it was, and what it said.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s: exit code %d", e.Argv[0], e.Code)
	if m := strings.TrimSpace(e.Message); m != "" {
		text += ": " + m
	}
	return text
}

// Output runs a command and returns what it writes.
func Output(ctx context.Context, a Access, at Place, argv ...string) (string, error) {
	text, err := output(func(streams Streams) error { return a.Run(ctx, at, streams, argv...) })
	if err != nil {
		return "", fmt.Errorf("%s: %w", at, err)
	}
	return text, nil
}

// OutputIn runs a command in a container and returns what it writes.
func OutputIn(ctx context.Context, e *Exec, in Container, argv ...string) (string, error) {
	return output(func(streams Streams) error { return e.Run(ctx, in, streams, argv...) })
}

func output(run func(Streams) error) (string, error) {
	var out, complaints bytes.Buffer
	err := run(Streams{Out: &out, Err: &complaints})
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Message = complaints.String()
	}
	if err != nil {
		return "", err
	}
	return out.String(), nil
}
