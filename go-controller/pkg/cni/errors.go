package cni

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/ovsport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

// Reasons for which a request is given up before its deadline.
var (
	errShimGone   = errors.New("the container runtime gave up the request")
	errShutdown   = errors.New("the node agent is stopping")
	errNetnsGone  = errors.New("the sandbox's network namespace was removed")
	errSuperseded = errors.New("the runtime asked for the sandbox's deletion")
	errPodGone    = errors.New("the pod is gone")
	errReassigned = errors.New("the pod was given another address or MAC meanwhile")
)

// stage is a part of a request, as errors, logs and metrics name it.
type stage string

const (
	stageRequest    stage = "request"
	stageQueue      stage = "queue"
	stageAnnotation stage = "annotation"
	stageVeth       stage = "veth"
	stagePod        stage = "configure"
	stagePort       stage = "port"
	stageFlows      stage = "flows"
	stageCheck      stage = "check"
)

// stageError says in which stage a request failed and where to look.
type stageError struct {
	stage stage
	err   error
	// look tells an operator what to look at.
	look string
}

func (e *stageError) Error() string { return string(e.stage) + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

func failed(s stage, err error, look string) error {
	if err == nil {
		return nil
	}
	return &stageError{stage: s, err: err, look: look}
}

// codedError carries a code of the CNI specification.
type codedError struct {
	code uint
	error
}

func (e codedError) Unwrap() error { return e.error }

func coded(code uint, format string, args ...any) error {
	return codedError{code: code, error: fmt.Errorf(format, args...)}
}

// toCNI turns an error into the specification's form.
func toCNI(err error) *types.Error {
	var ready *types.Error
	if errors.As(err, &ready) {
		return ready
	}
	look := ""
	var staged *stageError
	if errors.As(err, &staged) {
		look = staged.look
	}
	return types.NewError(codeOf(err), err.Error(), look)
}

func codeOf(err error) uint {
	var c codedError
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, errPodGone):
		return protocol.ErrPodGone
	case errors.Is(err, errShimGone), errors.Is(err, errNetnsGone), errors.Is(err, errSuperseded):
		return protocol.ErrCancelled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errReassigned), errors.Is(err, ovsport.ErrRemoved):
		return types.ErrTryAgainLater
	case errors.Is(err, plumb.ErrNoNetns):
		return types.ErrInvalidNetNS
	default:
		return protocol.ErrPlumbing
	}
}
