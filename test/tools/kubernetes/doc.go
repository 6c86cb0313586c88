// Package tools pins the kubernetes commands the lab runs to exact module versions.
package tools
