// Package tools pins the etcd commands the lab runs to exact module versions.
package tools
