// Command cnirec stands in the place of a CNI plugin's executable, runs the real one and records how long that
// took as the caller sees it: from before the real one is started until it has ended. One line of JSON for
// each call is appended to a file. It passes everything through and adds nothing but its own start, about a
// millisecond, which is outside what it records.
//
// It finds the real executable beside itself, with Suffix added to its own name.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/cnibench/record"
)

func main() {
	start := time.Now()
	status, err := call()
	if err != nil {
		// A CNI plugin reports errors on standard output (CNI specification, section 5).
		fmt.Printf(`{"cniVersion":"1.0.0","code":11,"msg":%q}`+"\n", err.Error())
		os.Exit(1)
	}
	line, err := json.Marshal(record.Call{
		Command: os.Getenv("CNI_COMMAND"), Container: os.Getenv("CNI_CONTAINERID"),
		Start: start, Duration: time.Since(start), Status: status,
	})
	if err == nil {
		write(append(line, '\n'))
	}
	os.Exit(status)
}

func call() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	real := self + record.Suffix
	process, err := os.StartProcess(real, append([]string{real}, os.Args[1:]...), &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 0, err
	}
	state, err := process.Wait()
	if err != nil {
		return 0, err
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}

// write appends in one write, which is atomic among appenders of a local file. A record that cannot be
// written must not fail the pod.
func write(line []byte) {
	f, err := os.OpenFile(record.File, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(line)
	_ = f.Close()
}
