package ovsdb

import "time"

// Observer is told how connections fare, for metrics. Its methods must be quick; they are called from any goroutine.
type Observer interface {
	// Connected is called after each connect, Lost when such a connection has ended, Failed after each round over all endpoints without one.
	Connected(database string)
	Lost(database string)
	Failed(database string)
	// Answered is called after each transaction and probe: how long it took and whether an answer came.
	Answered(database, method string, took time.Duration, ok bool)
}

// unobserved is the Observer of those who have none.
type unobserved struct{}

func (unobserved) Connected(string)                             {}
func (unobserved) Lost(string)                                  {}
func (unobserved) Failed(string)                                {}
func (unobserved) Answered(string, string, time.Duration, bool) {}
