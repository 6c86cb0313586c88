package ovsdb

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// rpcConn speaks JSON-RPC 1.0 as RFC 7047, section 4, has it: requests go both ways on one connection.
type rpcConn struct {
	conn net.Conn
	// notify handles notifications of the server, in the order in which they come and before any answer
	// that comes after them. Its error ends the connection.
	notify func(method string, params []json.RawMessage) error
	// writeTimeout bounds a write to a server that does not read.
	writeTimeout time.Duration

	writing sync.Mutex

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]*rpcCall
	ended   chan struct{} // closed when the connection is of no use any more
	reason  error         // why; readable once ended is closed
}

// rpcCall is a request that waits for its answer.
type rpcCall struct {
	done chan rpcAnswer
	// inOrder, when not nil, handles the result before anything that the server sent after it.
	inOrder func(json.RawMessage) error
}

type rpcAnswer struct {
	result json.RawMessage
	err    error
}

// rpcError is an answer of the server that says no.
type rpcError struct{ text string }

func (e *rpcError) Error() string { return "the server answered: " + e.text }

type rpcMessage struct {
	Method *string         `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func newRPCConn(conn net.Conn, writeTimeout time.Duration, notify func(string, []json.RawMessage) error) *rpcConn {
	c := &rpcConn{conn: conn, notify: notify, writeTimeout: writeTimeout, pending: map[uint64]*rpcCall{}, ended: make(chan struct{})}
	go c.read()
	return c
}

// end closes the connection and answers all that wait with reason. Only the first call counts.
func (c *rpcConn) end(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != nil {
		return
	}
	c.reason = reason
	close(c.ended)
	_ = c.conn.Close()
}

func (c *rpcConn) isEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// call sends a request and waits for the answer. An *rpcError is the server's; after any other error
// nobody knows whether the server has seen the request.
func (c *rpcConn) call(ctx context.Context, method string, params any, result any) error {
	return c.callInOrder(ctx, method, params, result, nil)
}

func (c *rpcConn) callInOrder(ctx context.Context, method string, params, result any, inOrder func(json.RawMessage) error) error {
	call := &rpcCall{done: make(chan rpcAnswer, 1), inOrder: inOrder}
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.pending[id] = call
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
	}()
	request := struct {
		Method string `json:"method"`
		Params any    `json:"params"`
		ID     uint64 `json:"id"`
	}{method, params, id}
	if err := c.write(request); err != nil {
		return err
	}
	select {
	case a := <-call.done:
		if a.err != nil || result == nil {
			return a.err
		}
		if err := json.Unmarshal(a.result, result); err != nil {
			return fmt.Errorf("answer to %s: %w", method, err)
		}
		return nil
	case <-c.ended:
		return c.reason
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *rpcConn) write(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	err = c.conn.SetWriteDeadline(time.Now().Add(c.writeTimeout))
	if err == nil {
		_, err = c.conn.Write(data)
	}
	if err != nil {
		c.end(fmt.Errorf("writing to the server: %w", err))
		return c.reason
	}
	return nil
}

// read handles what the server sends until the connection ends.
func (c *rpcConn) read() {
	decoder := json.NewDecoder(bufio.NewReaderSize(c.conn, 1<<16))
	for {
		var m rpcMessage
		err := decoder.Decode(&m)
		if err == nil {
			err = c.handle(&m)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server closed the connection")
			}
			c.end(err)
			return
		}
	}
}

func (c *rpcConn) handle(m *rpcMessage) error {
	if m.Method == nil {
		return c.answer(m)
	}
	if *m.Method == "echo" {
		// RFC 7047, section 4.1.11: the answer is the request.
		reply := struct {
			Result json.RawMessage `json:"result"`
			Error  any             `json:"error"`
			ID     json.RawMessage `json:"id"`
		}{m.Params, nil, m.ID}
		go func() { _ = c.write(reply) }()
		return nil
	}
	var params []json.RawMessage
	if err := json.Unmarshal(m.Params, &params); err != nil {
		return fmt.Errorf("notification %s: %w", *m.Method, err)
	}
	return c.notify(*m.Method, params)
}

func (c *rpcConn) answer(m *rpcMessage) error {
	var id uint64
	if err := json.Unmarshal(m.ID, &id); err != nil {
		return fmt.Errorf("answer without a request: %w", err)
	}
	c.mu.Lock()
	call := c.pending[id]
	c.mu.Unlock()
	if call == nil {
		return nil // nobody waits any more
	}
	answer := rpcAnswer{result: m.Result}
	if len(m.Error) > 0 && string(m.Error) != "null" {
		answer.err = &rpcError{string(m.Error)}
	} else if call.inOrder != nil {
		answer.err = call.inOrder(m.Result)
	}
	call.done <- answer
	return nil
}
