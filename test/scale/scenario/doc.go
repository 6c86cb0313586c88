// Package scenario says what is measured: each scenario sets up what it needs, makes load, checks that the
// outcome is right and returns figures. A figure of a run with a wrong outcome is never reported.
package scenario
