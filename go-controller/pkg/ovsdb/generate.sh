#!/bin/sh
# Writes the OVSDB models from the schemas of the installed OVN and Open vSwitch packages.
# The floor is OVN 23.03 and Open vSwitch 3.1 (Debian 12): newer servers only add columns.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tool=$here/../../../test/tools/modelgen
cd "$tool"
for spec in \
	nbdb:/usr/share/ovn/ovn-nb.ovsschema \
	sbdb:/usr/share/ovn/ovn-sb.ovsschema \
	vswitchdb:/usr/share/openvswitch/vswitch.ovsschema; do
	package=${spec%%:*}
	rm -rf "${here:?}/$package"
	go tool modelgen -extended -p "$package" -o "$here/$package" "${spec#*:}"
done
