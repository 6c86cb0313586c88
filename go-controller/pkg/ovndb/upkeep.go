package ovndb

import (
	"strconv"
	"time"
)

const (
	compactMethod  = "ovsdb-server/compact"
	compactTimeout = 10 * time.Minute
)

// command is one for a server's control socket.
type command struct {
	method string
	params []string
	// why is for the log.
	why string
}

// timeout is how long an answer may take: a compaction writes the whole file, and the server does nothing else meanwhile.
func (c *command) timeout() time.Duration {
	if c.method == compactMethod {
		return compactTimeout
	}
	return commandTimeout
}

// fileSize is what is known of the file for compaction, in bytes.
type fileSize struct {
	now int64
	// compacted is the size after the last compaction, or attempt of one; zero when there was none in this process' life.
	compacted int64
}

// upkeep returns what is to be done on a member that runs. The leader alone changes the cluster.
func upkeep(c *Config, s Status, size fileSize) []command {
	var out []command
	if s.Leads() {
		out = append(out, kickReplaced(c, s)...)
		if next := nextElectionTimer(s.ElectionTimer, c.ElectionTimer); next != s.ElectionTimer {
			out = append(out, command{"cluster/change-election-timer", []string{c.Kind.Database, strconv.FormatInt(next.Milliseconds(), 10)}, "it is to be " + c.ElectionTimer.String()})
		}
	}
	if size.now >= c.CompactBytes && size.now >= 2*size.compacted {
		out = append(out, command{compactMethod, []string{c.Kind.Database}, "the file has " + strconv.FormatInt(size.now, 10) + " bytes"})
	}
	return out
}

// kickReplaced removes members whose address another one has taken since: a member that lost its disk joins with a new identity,
// and as long as the old one counts, the cluster needs one vote more than it should. One at a time: ovsdb-server does no more.
func kickReplaced(c *Config, s Status) []command {
	byAddress := map[string][]Server{}
	for _, server := range s.Servers {
		byAddress[server.Address] = append(byAddress[server.Address], server)
	}
	for address, servers := range byAddress {
		if len(servers) < 2 {
			continue
		}
		alive, gone := 0, Server{}
		for _, server := range servers {
			// The leader hears of each member at every third of the timer.
			if server.Self || server.LastMessage >= 0 && server.LastMessage < s.ElectionTimer {
				alive++
			} else {
				gone = server
			}
		}
		if alive > 0 && gone.ID != "" {
			return []command{{"cluster/kick", []string{c.Kind.Database, gone.ID}, "another member has taken its address " + address}}
		}
	}
	return nil
}

// nextElectionTimer is one step from now to want: ovsdb-server takes at most twice the present value.
func nextElectionTimer(now, want time.Duration) time.Duration {
	if now <= 0 {
		return now
	}
	return min(want, 2*now)
}
