package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

func TestRequestRoundTrip(t *testing.T) {
	// Indented, as runtimes pass it: the message must still be one line.
	want := Request{
		Version: Version, Command: Add, ContainerID: "abc", Netns: "/run/netns/x", IfName: "eth0", Args: "A=b",
		Config: json.RawMessage("{\n  \"name\": \"n\"\n}"), TimeoutMS: 1500,
	}
	var wire bytes.Buffer
	if err := Write(&wire, want); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(wire.String(), "\n"); n != 1 {
		t.Errorf("message has %d lines", n)
	}
	got, err := ReadRequest(&wire)
	if err != nil {
		t.Fatal(err)
	}
	want.Config = json.RawMessage(`{"name":"n"}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResponseRoundTrip(t *testing.T) {
	want := Response{Version: Version, Error: types.NewError(11, "m", "d")}
	var wire bytes.Buffer
	if err := Write(&wire, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadResponse(&wire)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadRequestRefuses(t *testing.T) {
	for name, test := range map[string]struct{ message, want string }{
		"no message":        {"", "EOF"},
		"cut message":       {`{"version":1,`, "unexpected EOF"},
		"no JSON":           {"hello\n", "decode message"},
		"other version":     {`{"version":2,"command":"STATUS"}` + "\n", "do not fit together"},
		"unknown command":   {`{"version":1,"command":"PING"}` + "\n", `"PING"`},
		"ADD without netns": {`{"version":1,"command":"ADD","containerID":"a","ifName":"eth0"}` + "\n", "without a network namespace"},
		"DEL without ID":    {`{"version":1,"command":"DEL","ifName":"eth0"}` + "\n", "without container ID"},
		"negative timeout":  {`{"version":1,"command":"STATUS","timeoutMS":-1}` + "\n", "timeoutMS"},
		"endless line":      {strings.Repeat("x", MaxMessage+10), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadRequest(strings.NewReader(test.message))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestReadResponseCut(t *testing.T) {
	if _, err := ReadResponse(strings.NewReader(`{"version":1}`)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v: a response that was cut must not pass for success", err)
	}
}

// FuzzReadRequest: whatever comes, it is refused or survives being sent on.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(`{"version":1,"command":"ADD","containerID":"a","ifName":"eth0","netns":"/n","config":{"a":[1]}}` + "\n"))
	f.Add([]byte(`{"version":1,"command":"GC","config":null}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := ReadRequest(bytes.NewReader(data))
		if err != nil {
			return
		}
		var wire bytes.Buffer
		if err := Write(&wire, first); err != nil {
			t.Fatalf("accepted but cannot be sent: %v", err)
		}
		again, err := ReadRequest(&wire)
		if err != nil {
			t.Fatalf("accepted but not again: %v", err)
		}
		if first.Command != again.Command || first.ContainerID != again.ContainerID || first.Netns != again.Netns {
			t.Errorf("%+v became %+v", first, again)
		}
	})
}
