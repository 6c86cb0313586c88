module github.com/ovnkube/ovnkube/test/tools/modelgen

go 1.26.0

tool github.com/ovn-org/libovsdb/cmd/modelgen

require (
	github.com/ovn-org/libovsdb v0.7.0 // indirect
	golang.org/x/text v0.14.0 // indirect
)
