// Package tools pins the containerd commands the lab runs to exact module versions.
package tools
