package ovndb

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the file's format has it
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// raiseIndex lets the log of a new cluster, just made by ovsdb-tool, begin at an index that no earlier cluster has reached.
//
// Clients of Open vSwitch's library remember the index that they saw last and refuse servers that are behind it as stale, also when
// these belong to another cluster: ovn-controller and ovn-northd would stay without a database until somebody told each of them
// (ovn-controller(8), "sb-cluster-state-reset"). Milliseconds since 1970 grow faster than any log.
func raiseIndex(path string, now time.Time) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if data, err = raised(data, now.UnixMilli()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, data, 0o600)
}

// raised adds to the indexes in all records of a RAFT log. A record is "OVSDB CLUSTER length sha1", then JSON of that length and
// hash, line ends included: ovsdb(5), "Clustered Format".
func raised(data []byte, by int64) ([]byte, error) {
	var out bytes.Buffer
	for len(data) > 0 {
		header, rest, ok := bytes.Cut(data, []byte("\n"))
		fields := bytes.Fields(header)
		if !ok || len(fields) != 4 || string(fields[1]) != "CLUSTER" {
			return nil, fmt.Errorf("record begins with %q", header)
		}
		length, err := strconv.Atoi(string(fields[2]))
		if err != nil || length < 0 || length > len(rest) {
			return nil, fmt.Errorf("record of length %q, %d bytes are left", fields[2], len(rest))
		}
		body, err := raisedRecord(rest[:length], by)
		if err != nil {
			return nil, err
		}
		sum := sha1.Sum(body) //nolint:gosec // the file's format has it
		fmt.Fprintf(&out, "OVSDB CLUSTER %d %s\n", len(body), hex.EncodeToString(sum[:]))
		out.Write(body)
		data = rest[length:]
	}
	return out.Bytes(), nil
}

func raisedRecord(body []byte, by int64) ([]byte, error) {
	var record map[string]json.RawMessage
	if err := json.Unmarshal(body, &record); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	for _, key := range []string{"prev_index", "index", "commit_index"} {
		value, ok := record[key]
		if !ok {
			continue
		}
		index, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s of a record: %w", key, err)
		}
		record[key] = strconv.AppendInt(nil, index+by, 10)
	}
	// Not json.Marshal: "<" in the content would become "\u003c", which is the same but longer.
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(record)
	return out.Bytes(), err
}
