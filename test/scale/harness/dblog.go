package harness

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Transactions counts the transactions in a database's log by who made them.
type Transactions struct {
	// Tools are those whose comment says that ovn-northd or ovn-nbctl made them.
	Tools int
	// Master are all others: the master's, when nobody else writes.
	Master int
	// Bytes is the size of the master's in the log.
	Bytes int64
	// Compacted: the server has rewritten the file, which hides the transactions before that.
	Compacted bool
}

// Sub returns what was added since earlier.
func (t Transactions) Sub(earlier Transactions) Transactions {
	return Transactions{Tools: t.Tools - earlier.Tools, Master: t.Master - earlier.Master, Bytes: t.Bytes - earlier.Bytes}
}

// ReadTransactions counts in the file of a standalone OVSDB database (ovsdb(5), "Standalone Database
// Format"): each record is a line "OVSDB JSON LENGTH SHA1" and LENGTH bytes of JSON. The first record
// is the schema; each other one is a transaction that changed something, but for what the server writes when it compacts the file.
func ReadTransactions(path string) (Transactions, error) {
	f, err := os.Open(path)
	if err != nil {
		return Transactions{}, fmt.Errorf("log of transactions: %w", err)
	}
	defer f.Close()
	t, err := countTransactions(f)
	if err != nil {
		return t, fmt.Errorf("log of transactions %s: %w", path, err)
	}
	return t, nil
}

func countTransactions(r io.Reader) (Transactions, error) {
	var t Transactions
	in := bufio.NewReaderSize(r, 1<<20)
	for record := 0; ; record++ {
		body, err := readRecord(in)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return t, nil // the server is about to write the rest
		}
		if err != nil {
			return t, fmt.Errorf("record %d: %w", record, err)
		}
		if record == 0 {
			continue
		}
		comment, err := readComment(body)
		if err != nil {
			return t, fmt.Errorf("record %d: %w", record, err)
		}
		switch {
		case strings.HasPrefix(comment, "compacting database"):
			t = Transactions{Compacted: true}
		case strings.HasPrefix(comment, "ovn-northd"), strings.HasPrefix(comment, "ovn-nbctl"):
			t.Tools++
		default:
			t.Master++
			t.Bytes += int64(len(body))
		}
	}
}

func readRecord(in *bufio.Reader) ([]byte, error) {
	header, err := in.ReadString('\n')
	if err != nil {
		return nil, io.EOF
	}
	var length int
	var hash string
	if _, err := fmt.Sscanf(header, "OVSDB JSON %d %s", &length, &hash); err != nil {
		return nil, fmt.Errorf("unexpected header %q: %w", header, err)
	}
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	return body, err
}

func readComment(body []byte) (string, error) {
	var record struct {
		Comment string `json:"_comment"`
	}
	if err := json.Unmarshal(body, &record); err != nil {
		return "", err
	}
	return record.Comment, nil
}
