package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

const (
	// exchangeTimeout bounds reading a request and writing a response.
	exchangeTimeout = 10 * time.Second
	// maxTimeout bounds a request whatever the shim says; below the four minutes that kubelet gives
	// the creation of a sandbox.
	maxTimeout = 2 * time.Minute
)

// handle serves one connection, which carries one request.
func (s *Server) handle(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return
	}
	if err := peerIsRoot(conn); err != nil {
		klog.ErrorS(err, "Refused a CNI request")
		s.respond(conn, nil, coded(types.ErrInvalidEnvironmentVariables, "node agent: %w", err))
		return
	}
	wire, err := protocol.ReadRequest(conn)
	if err != nil {
		if !errors.Is(err, io.EOF) { // a shim that only looked whether somebody is there
			klog.ErrorS(err, "Received a bad CNI request")
			s.respond(conn, nil, failed(stageRequest, coded(types.ErrDecodingFailure, "%w", err), ""))
		}
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go cancelWhenClosed(conn, cancel)
	result, err := s.serveRequest(ctx, wire)
	if err != nil && errors.Is(context.Cause(ctx), errShutdown) {
		// Without a response the shim asks the next agent.
		return
	}
	s.respond(conn, result, err)
}

// cancelWhenClosed ends the request when the shim goes away: killed by the runtime, which gave up.
func cancelWhenClosed(conn net.Conn, cancel context.CancelCauseFunc) {
	// The shim sends nothing after its request, so this returns only at the end of the connection.
	_, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, net.ErrClosed) {
		cancel(errShimGone)
	}
}

func (s *Server) respond(conn net.Conn, result json.RawMessage, err error) {
	response := protocol.Response{Version: protocol.Version, Result: result}
	if err != nil {
		response.Result, response.Error = nil, toCNI(err)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return
	}
	if err := protocol.Write(conn, response); err != nil {
		klog.V(2).InfoS("Could not send a CNI response", "err", err)
	}
}

// serveRequest works on a request, measures and logs it.
func (s *Server) serveRequest(ctx context.Context, wire protocol.Request) (json.RawMessage, error) {
	timeout := maxTimeout
	if t := wire.Timeout(); t > 0 {
		timeout = min(timeout, t)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()

	begin, t := time.Now(), newStages()
	r, err := decode(wire)
	var result json.RawMessage
	if err != nil {
		err = failed(stageRequest, err, "")
	} else {
		result, err = s.dispatch(ctx, r, t)
	}
	s.account(wire, t, time.Since(begin), err)
	return result, err
}

func (s *Server) dispatch(ctx context.Context, r *request, t *stages) (json.RawMessage, error) {
	switch r.Command {
	case protocol.GC:
		return nil, s.gc(ctx, r, t)
	case protocol.Status:
		return nil, s.status()
	}
	var release func()
	err := t.time(stageQueue, func() (err error) {
		ctx, release, err = s.sandboxes.acquire(ctx, r.ContainerID, r.Command)
		return failed(stageQueue, err, "another request for this sandbox did not end")
	})
	if err != nil {
		return nil, err
	}
	defer release()
	switch r.Command {
	case protocol.Add:
		if !plumb.NetnsAlive(r.Netns) {
			return nil, failed(stageVeth, fmt.Errorf("%w: %s", plumb.ErrNoNetns, r.Netns), "does the node agent see the runtime's network namespaces?")
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer s.netns.watch(r.Netns, func() { cancel(errNetnsGone) })()
		return s.add(ctx, r, t)
	case protocol.Check:
		return nil, s.check(ctx, r, t)
	default:
		return nil, s.del(ctx, r, t)
	}
}

// account writes the request's line in the log and its metrics.
func (s *Server) account(r protocol.Request, t *stages, took time.Duration, err error) {
	result := "ok"
	switch {
	case err == nil:
	case codeOf(err) == protocol.ErrCancelled, errors.Is(err, errShutdown):
		result = "cancelled"
	default:
		result = "error"
	}
	s.metrics.requests.WithLabelValues(r.Command, result).Observe(took.Seconds())
	kv := []any{"command", r.Command, "pod", podOf(r.Args).String(), "sandbox", r.ContainerID, "result", result, "took", took.Round(10 * time.Microsecond)}
	t.each(func(st stage, d time.Duration) {
		s.metrics.stages.WithLabelValues(r.Command, string(st)).Observe(d.Seconds())
		kv = append(kv, string(st), d.Round(10*time.Microsecond))
	})
	switch {
	case err != nil && r.Command == protocol.Status && codeOf(err) == types.ErrPluginNotAvailable:
		// The answer to a question, which the runtime repeats every few seconds.
		klog.V(2).InfoS("Not ready for pods yet", "reason", err)
	case err != nil:
		klog.ErrorS(err, "CNI request failed", kv...)
	case r.Command != protocol.Status:
		klog.V(2).InfoS("CNI request", kv...)
	}
}
