package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
)

// completionTime is how long somebody who has pressed the key waits for a cluster that does not answer.
const completionTime = 3 * time.Second

// objectNames lists the objects of a kind for completion; it knows none when it cannot.
func objectNames(ctx context.Context, client kubernetes.Interface, kind, namespace string) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	o := metav1.ListOptions{ResourceVersion: "0"}
	var list runtime.Object
	var err error
	switch kind {
	case "pod":
		list, err = client.CoreV1().Pods(namespace).List(ctx, o)
	case "service":
		list, err = client.CoreV1().Services(namespace).List(ctx, o)
	case "networkpolicy":
		list, err = client.NetworkingV1().NetworkPolicies(namespace).List(ctx, o)
	case "node":
		list, err = client.CoreV1().Nodes().List(ctx, o)
	case "namespace":
		list, err = client.CoreV1().Namespaces().List(ctx, o)
	}
	if err != nil || list == nil {
		return nil
	}
	var out []string
	_ = meta.EachListItem(list, func(object runtime.Object) error {
		if m, err := meta.Accessor(object); err == nil {
			out = append(out, m.GetName())
		}
		return nil
	})
	return out
}

// completer completes names of objects in the namespace that was typed, or else the default one.
type completer struct {
	client    kubernetes.Interface
	namespace string
}

// of completes [NAMESPACE/]NAME of one kind. Prefix is put before each.
func (c completer) of(ctx context.Context, kind, prefix, typed string) []string {
	namespace := c.namespace
	typed = strings.TrimPrefix(typed, prefix)
	if ns, _, ok := strings.Cut(typed, "/"); ok && kind != "node" && kind != "namespace" {
		namespace, prefix = ns, prefix+ns+"/"
	}
	var out []string
	for _, name := range objectNames(ctx, c.client, kind, namespace) {
		out = append(out, prefix+name)
	}
	return out
}

// nodes completes a list of nodes, with commas between; the ones that are there are not offered again.
func (c completer) nodes(ctx context.Context, typed string) []string {
	prefix := typed[:strings.LastIndexByte(typed, ',')+1]
	taken := strings.Split(prefix, ",")
	var out []string
	for _, name := range objectNames(ctx, c.client, "node", "") {
		if !slices.Contains(taken, name) {
			out = append(out, prefix+name)
		}
	}
	return out
}

func (c completer) namespaces(ctx context.Context, _ string) []string {
	return objectNames(ctx, c.client, "namespace", "")
}

func (g *globals) completer() (completer, bool) {
	_, client, err := g.cluster()
	return completer{client, g.defaultNamespace()}, err == nil
}

const noFiles = cobra.ShellCompDirectiveNoFileComp

func (g *globals) completePod(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	c, ok := g.completer()
	if !ok || len(args) > 0 {
		return nil, noFiles
	}
	return c.of(cmd.Context(), "pod", "", typed), noFiles
}

func (g *globals) completeNodes(cmd *cobra.Command) ([]string, cobra.ShellCompDirective) {
	c, ok := g.completer()
	if !ok {
		return nil, noFiles
	}
	return c.of(cmd.Context(), "node", "", ""), noFiles
}

// completeEnds completes the ends of a trace: pods, and KIND/NAME of what else there can be.
func (g *globals) completeEnds(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	c, ok := g.completer()
	if !ok || len(args) > 1 {
		return nil, noFiles
	}
	return c.end(cmd.Context(), len(args) == 1, typed), noFiles | cobra.ShellCompDirectiveNoSpace
}

func (c completer) end(ctx context.Context, destination bool, typed string) []string {
	for _, kind := range []string{"pod", "service", "node"} {
		if strings.HasPrefix(typed, kind+"/") {
			return c.of(ctx, kind, kind+"/", typed)
		}
	}
	out := append(c.of(ctx, "pod", "", typed), "node/")
	if destination {
		out = append(out, "service/")
	}
	return out
}

// completeObjects completes KIND NAME and KIND/NAME.
func (g *globals) completeObjects(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	word, _, slash := strings.Cut(typed, "/")
	if len(args) > 1 || len(args) == 1 && strings.Contains(args[0], "/") {
		return nil, noFiles
	}
	if len(args) == 0 && !slash {
		return inspect.Kinds(), noFiles
	}
	c, ok := g.completer()
	if !ok {
		return nil, noFiles
	}
	prefix := word + "/"
	if len(args) == 1 {
		word, prefix = args[0], ""
	}
	kind, known := inspect.ParseKind(word)
	if !known {
		return nil, noFiles
	}
	return c.of(cmd.Context(), kind, prefix, typed), noFiles
}
