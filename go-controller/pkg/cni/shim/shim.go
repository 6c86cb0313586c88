// Package shim is the CNI plugin's half of the conversation with the node agent: it passes a command
// on, and waits for an agent that is just being restarted.
//
// The plugin is started for every pod, so this package keeps its imports few: no Kubernetes, no OVSDB,
// no HTTP (the dependency test says why for each).
package shim

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

const (
	// retryPause keeps an agent that accepts and drops connections from being hammered.
	retryPause = 50 * time.Millisecond
	// replyMargin is left to the agent's error after the agent's own deadline.
	replyMargin = time.Second
)

// Limits bound a command.
type Limits struct {
	// Total is the time for everything.
	Total time.Duration
	// Agent is how long an agent may be away: not listening, or gone in the middle of the request.
	Agent time.Duration
}

// LimitsOf returns the limits of a command. kubelet gives the creation of a sandbox four minutes and
// every other call to the runtime two (twice and once its --runtime-request-timeout).
func LimitsOf(command string) Limits {
	switch command {
	case protocol.Add:
		return Limits{Total: 2 * time.Minute, Agent: time.Minute}
	case protocol.Status:
		// Patient enough for an agent's restart: a node that is NotReady for two seconds takes
		// all of its pods out of their services.
		return Limits{Total: 20 * time.Second, Agent: 10 * time.Second}
	default:
		return Limits{Total: 100 * time.Second, Agent: time.Minute}
	}
}

// Client sends commands to the node agent.
type Client struct {
	// Socket is the path of the agent's unix socket.
	Socket string
	Limits Limits
}

// Do sends the request and returns the response. A request that is cut in the middle is sent again:
// all commands are idempotent. The error is a *types.Error for the runtime.
func (c Client) Do(ctx context.Context, request protocol.Request) (protocol.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Limits.Total)
	defer cancel()
	request.Version = protocol.Version
	away := time.Now()
	for {
		connected, response, err := c.try(ctx, request)
		if err == nil {
			return response, nil
		}
		if connected {
			away = time.Now()
			pause(ctx, retryPause)
		}
		left := time.Until(away.Add(c.Limits.Agent))
		if ctx.Err() != nil || left <= 0 {
			return protocol.Response{}, c.unavailable(request.Command, err)
		}
		if !connected {
			c.awaitSocket(ctx, left)
		}
	}
}

// try makes one attempt. connected says whether an agent was there.
func (c Client) try(ctx context.Context, request protocol.Request) (connected bool, response protocol.Response, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return false, response, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return true, response, err
	}
	request.TimeoutMS = max(time.Until(deadline)-replyMargin, time.Millisecond).Milliseconds()
	if err := protocol.Write(conn, request); err != nil {
		return true, response, fmt.Errorf("send request: %w", err)
	}
	response, err = protocol.ReadResponse(conn)
	if err != nil {
		return true, response, fmt.Errorf("receive response: %w", err)
	}
	return true, response, nil
}

// awaitSocket returns when an agent may have come to the socket, at the latest after limit.
func (c Client) awaitSocket(ctx context.Context, limit time.Duration) {
	w, err := newWatch(c.Socket)
	if err != nil {
		pause(ctx, min(retryPause, limit))
		return
	}
	defer w.close()
	// The agent may have come between the failed attempt and the watch.
	if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.Socket); err == nil {
		conn.Close()
		return
	}
	w.wait(limit)
}

func (c Client) unavailable(command string, cause error) error {
	code := types.ErrTryAgainLater
	if command == protocol.Status {
		code = types.ErrPluginNotAvailable
	}
	return types.NewError(code,
		fmt.Sprintf("node agent: no answer at %s: %v", c.Socket, cause),
		"is the ovnkube node agent running on this node? see its log, and: kubectl get pods -A -o wide -l "+
			names.PodNameLabel+"="+names.PodName+","+names.PodComponentLabel+"="+names.NodePods)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
