// Package tools pins the coredns commands the lab runs to exact module versions.
package tools
