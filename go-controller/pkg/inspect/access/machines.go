package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// hostWord stands for the machine in the words of Machines.Through.
const hostWord = "{host}"

// Machines runs commands on the machines themselves, where the components are processes.
type Machines struct {
	// Through are the words of a command that runs another one on a machine, {host} in them being the machine:
	// ssh root@{host}. Without words commands run here.
	Through []string
	// ControlPlane is the machine with the databases, Here the name of this one. Here counts only without Through.
	ControlPlane, Here string
}

// Run runs a command on a place's machine.
func (m *Machines) Run(ctx context.Context, at Place, streams Streams, argv ...string) error {
	words, err := m.command(at, argv)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = streams.Out, streams.Err
	feed, err := input(cmd, streams.In)
	if err != nil {
		return fmt.Errorf("run %s: %w", words[0], err)
	}
	if err = cmd.Start(); err == nil {
		feed()
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return &ExitError{Argv: argv, Code: exit.ExitCode()}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", words[0], errors.Join(ctx.Err(), err))
	}
	return nil
}

// input gives a command its standard input; feed is called once it runs. A command that ends does not wait for input that may never end.
func input(cmd *exec.Cmd, in io.Reader) (feed func(), err error) {
	if _, isFile := in.(*os.File); isFile || in == nil {
		cmd.Stdin = in
		return func() {}, nil
	}
	pipe, err := cmd.StdinPipe()
	return func() {
		go func() {
			_, _ = io.Copy(pipe, in) // What it does not read it does not want.
			_ = pipe.Close()
		}()
	}, err
}

// command is what is run here in order to run argv at a place.
func (m *Machines) command(at Place, argv []string) ([]string, error) {
	host := at.Node
	if len(m.Through) == 0 {
		if host != "" && host != m.Here {
			return nil, fmt.Errorf("this machine is %s, not node %s: run the command there, or give --access a command that reaches it, like 'ssh root@%s'",
				m.Here, host, hostWord)
		}
		return argv, nil
	}
	if at.Database != "" && host == "" {
		host = m.ControlPlane
	}
	if host == "" {
		return nil, errors.New("which machine? Name the node, or the databases' machine with --control-plane")
	}
	var words []string
	for _, w := range m.Through {
		words = append(words, strings.ReplaceAll(w, hostWord, host))
	}
	if filepath.Base(words[0]) == "ssh" { // It makes a single text of the words, which a shell takes apart again.
		argv = slices.Clone(argv)
		for i, w := range argv {
			argv[i] = quote(w)
		}
	}
	return append(words, argv...), nil
}

// quote makes a word of a shell.
func quote(w string) string { return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'" }
