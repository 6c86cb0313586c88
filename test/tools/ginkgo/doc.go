// Package tools pins the ginkgo commands the lab runs to exact module versions.
package tools
