package ovndb

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Status is what a member of a cluster says of itself and of the others.
type Status struct {
	Database  string `json:"database"`
	ClusterID string `json:"clusterID,omitempty"` // empty while it has never joined
	ServerID  string `json:"serverID"`
	Address   string `json:"address"`
	// Status is "cluster member", "joining cluster", "leaving cluster", "left cluster" or, when elections fail, "disconnected from the
	// cluster (…)".
	Status string `json:"status"`
	// Role is "leader", "follower" or "candidate".
	Role string `json:"role"`
	Term uint64 `json:"term"`
	// Leader is the short identity of the leader, "self", or empty while it is unknown.
	Leader        string        `json:"leader,omitempty"`
	ElectionTimer time.Duration `json:"electionTimer"`
	// LogFirst and LogNext are the first entry of the log and the one after its last.
	LogFirst       uint64   `json:"logFirst"`
	LogNext        uint64   `json:"logNext"`
	NotCommitted   uint64   `json:"notCommitted"`
	NotApplied     uint64   `json:"notApplied"`
	Disconnections uint64   `json:"disconnections"`
	Servers        []Server `json:"servers"`
}

// Server is a member as another one sees it.
type Server struct {
	// ID is the first four digits of its identity.
	ID      string `json:"id"`
	Address string `json:"address"`
	Self    bool   `json:"self,omitempty"`
	// NextIndex and MatchIndex are known to the leader only: what is to be sent to it, and what it is known to have.
	NextIndex  uint64 `json:"nextIndex,omitempty"`
	MatchIndex uint64 `json:"matchIndex,omitempty"`
	// LastMessage is how long ago it was heard of; negative when it never was.
	LastMessage time.Duration `json:"lastMessage"`
}

// Leads tells whether the member is the leader.
func (s *Status) Leads() bool { return s.Role == "leader" && s.Status == "cluster member" }

// serverLine: "    43bb (43bb at tcp:127.0.0.3:7643) next_index=7 match_index=6 last msg 656 ms ago".
var serverLine = regexp.MustCompile(`^\s+([0-9a-f]{4}) \([0-9a-f]{4} at ([^)]+)\)(.*)$`)

// ParseStatus reads the answer to cluster/status: ovsdb-server(1). Lines that newer servers have added are passed over.
func ParseStatus(text string) (Status, error) {
	var s Status
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := serverLine.FindStringSubmatch(line); m != nil {
			server, err := parseServer(m)
			if err != nil {
				return Status{}, err
			}
			s.Servers = append(s.Servers, server)
			continue
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		if err := s.set(name, value); err != nil {
			return Status{}, fmt.Errorf("cluster status, %q: %w", line, err)
		}
	}
	if s.Database == "" || s.ServerID == "" || s.Role == "" {
		return Status{}, fmt.Errorf("cluster status lacks name, server or role: %q", text)
	}
	return s, nil
}

func (s *Status) set(name, value string) (err error) {
	switch name {
	case "Name":
		s.Database = value
	case "Cluster ID":
		s.ClusterID = fullID(value)
	case "Server ID":
		s.ServerID = fullID(value)
	case "Address":
		s.Address = value
	case "Status":
		s.Status = value
	case "Role":
		s.Role = value
	case "Leader":
		if value != "unknown" {
			s.Leader = value
		}
	case "Term":
		s.Term, err = strconv.ParseUint(value, 10, 64)
	case "Election timer": // in milliseconds
		s.ElectionTimer, err = time.ParseDuration(strings.TrimSpace(value) + "ms")
	case "Log":
		_, err = fmt.Sscanf(value, "[%d, %d]", &s.LogFirst, &s.LogNext)
	case "Entries not yet committed":
		s.NotCommitted, err = strconv.ParseUint(value, 10, 64)
	case "Entries not yet applied":
		s.NotApplied, err = strconv.ParseUint(value, 10, 64)
	case "Disconnections":
		s.Disconnections, err = strconv.ParseUint(value, 10, 64)
	}
	return err
}

// fullID takes the UUID from "43bb (43bb0e03-…)"; "not yet known" has none.
func fullID(value string) string {
	_, rest, ok := strings.Cut(value, "(")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(rest, ")")
}

func parseServer(m []string) (Server, error) {
	s := Server{ID: m[1], Address: m[2], Self: strings.Contains(m[3], "(self)"), LastMessage: -1}
	fields := strings.Fields(m[3])
	for i, f := range fields {
		var err error
		switch key, value, _ := strings.Cut(f, "="); {
		case key == "next_index":
			s.NextIndex, err = strconv.ParseUint(value, 10, 64)
		case key == "match_index":
			s.MatchIndex, err = strconv.ParseUint(value, 10, 64)
		case f == "msg" && i+2 < len(fields):
			s.LastMessage, err = time.ParseDuration(fields[i+1] + fields[i+2])
		}
		if err != nil {
			return Server{}, fmt.Errorf("cluster status of server %s: %w", m[1], err)
		}
	}
	return s, nil
}
