// Package tools pins golangci-lint to an exact version.
package tools
