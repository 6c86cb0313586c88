// Package record is what command cnirec writes and the benchmark reads. It imports nothing, so that the
// command starts fast.
package record

import "time"

const (
	// File holds the records, one JSON object a line.
	File = "/var/log/cni-calls.jsonl"
	// Suffix is added to the name of the executable that cnirec stands for.
	Suffix = ".measured"
)

// Call is one call of the plugin.
type Call struct {
	// Command is ADD, DEL, CHECK, STATUS, GC or VERSION; Container is the sandbox's id.
	Command   string `json:"command"`
	Container string `json:"container,omitempty"`
	// Start is on the node's clock.
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration"`
	// Status is the exit status, 0 for success.
	Status int `json:"status"`
}
