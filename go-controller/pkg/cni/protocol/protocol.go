// Package protocol is what the CNI shim and the node agent say to each other over the agent's unix
// socket: one request and one response a connection, each a line of JSON.
//
// The shim and the agent are not upgraded at the same instant. Both sides ignore fields they do not
// know, and Version is raised only for a change that the other side cannot ignore.
package protocol

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// Version of the protocol.
const Version = 1

// MaxMessage is the longest message in bytes. The longest there is, a GC request that lists the
// attachments of 1,000 pods, is some 150 kB.
const MaxMessage = 4 << 20

// Commands, as in CNI_COMMAND of the CNI specification.
const (
	Add    = "ADD"
	Del    = "DEL"
	Check  = "CHECK"
	GC     = "GC"
	Status = "STATUS"
)

// Error codes of this plugin. The CNI specification leaves codes from 100 to plugins.
const (
	// ErrPlumbing says that the kernel or Open vSwitch refused something.
	ErrPlumbing uint = 100
	// ErrCheck says that an attachment differs from what ADD made of it.
	ErrCheck uint = 101
	// ErrPodGone says that the pod was deleted or replaced by another of its name.
	ErrPodGone uint = 102
	// ErrCancelled says that the request was given up: the runtime went away, removed the
	// sandbox, or asked for its deletion.
	ErrCancelled uint = 103
)

// Request is one CNI command with its parameters, as the runtime gave them to the shim.
type Request struct {
	Version     int    `json:"version"`
	Command     string `json:"command"`
	ContainerID string `json:"containerID,omitempty"`
	Netns       string `json:"netns,omitempty"`
	IfName      string `json:"ifName,omitempty"`
	Args        string `json:"args,omitempty"`
	// Config is the plugin's configuration object, valid JSON.
	Config json.RawMessage `json:"config,omitempty"`
	// TimeoutMS is how long the shim will wait for the response, in milliseconds.
	TimeoutMS int64 `json:"timeoutMS,omitempty"`
}

// Timeout is how long the shim will wait; zero means that it did not say.
func (r Request) Timeout() time.Duration { return time.Duration(r.TimeoutMS) * time.Millisecond }

// Response is the outcome of a Request: a result, an error, or neither (success without output).
type Response struct {
	Version int `json:"version"`
	// Result is what to print on standard output, in the configuration's CNI version.
	Result json.RawMessage `json:"result,omitempty"`
	Error  *types.Error    `json:"error,omitempty"`
}

// Write sends a Request or a Response.
func Write(w io.Writer, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(data) >= MaxMessage {
		return fmt.Errorf("message of %d bytes is longer than %d", len(data), MaxMessage)
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// ReadRequest receives and checks a Request.
func ReadRequest(r io.Reader) (Request, error) {
	var request Request
	if err := read(r, &request); err != nil {
		return Request{}, err
	}
	if err := request.validate(); err != nil {
		return Request{}, err
	}
	return request, nil
}

// ReadResponse receives a Response. It fails when the connection ends first.
func ReadResponse(r io.Reader) (Response, error) {
	var response Response
	if err := read(r, &response); err != nil {
		return Response{}, err
	}
	return response, nil
}

func read(r io.Reader, message any) error {
	line, err := bufio.NewReader(io.LimitReader(r, MaxMessage)).ReadBytes('\n')
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && len(line) >= MaxMessage:
		return fmt.Errorf("message is longer than %d bytes", MaxMessage)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
	if err := json.Unmarshal(line, message); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

func (r Request) validate() error {
	if r.Version != Version {
		return fmt.Errorf("protocol version %d is not %d: the plugin binary and the node agent do not fit together", r.Version, Version)
	}
	if r.TimeoutMS < 0 || r.TimeoutMS > time.Hour.Milliseconds() {
		return fmt.Errorf("timeoutMS %d is not between 0 and an hour", r.TimeoutMS)
	}
	switch r.Command {
	case GC, Status:
		return nil
	case Add, Check:
		if r.Netns == "" {
			return fmt.Errorf("%s without a network namespace", r.Command)
		}
	case Del:
	default:
		return fmt.Errorf("command %q is not one of ADD, DEL, CHECK, GC, STATUS", r.Command)
	}
	if r.ContainerID == "" || r.IfName == "" {
		return fmt.Errorf("%s without container ID or interface name", r.Command)
	}
	return nil
}
