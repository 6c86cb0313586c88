# Makes ports with OVN's and OVS' own tools and prints for each: the time before the logical port is made, the
# time before the OVS port is made, and the time when ovn-installed was seen.
# Arguments: northbound endpoint, node (its switch and chassis have the same name), number, "serial" or "at-once".
set -eu
export LC_ALL=C
nb=$1 node=$2 number=$3 mode=$4

# The devices are there before, as the time to make them is not OVN's.
prepare() {
	ip link add "fl$1" type veth peer name "flp$1"
	ip link set "fl$1" up
	ip link set "flp$1" up
}

port() {
	local i=$1 tries=0 mac before between
	mac=$(printf '0a:58:0a:ff:%02x:%02x' $((i / 256)) $((i % 256)))
	before=$EPOCHREALTIME
	# On a busy machine a connection may be refused; pods' ports come through one that stands.
	until ovn-nbctl -vconsole:off --db="$nb" --timeout=60 --may-exist lsp-add "$node" "floor-$i" \
		-- lsp-set-addresses "floor-$i" "$mac 10.255.$((i / 256)).$((i % 256))" \
		-- lsp-set-port-security "floor-$i" "$mac 10.255.$((i / 256)).$((i % 256))" \
		-- lsp-set-options "floor-$i" requested-chassis="$node" 2> /dev/null
	do
		((++tries < 50)) || exit 1
	done
	between=$EPOCHREALTIME
	ovs-vsctl -vconsole:err --timeout=60 add-port br-int "fl$i" -- set Interface "fl$i" external_ids:iface-id="floor-$i"
	ovs-vsctl -vconsole:err --timeout=60 wait-until Interface "fl$i" external_ids:ovn-installed=true
	echo "$before $between $EPOCHREALTIME"
}

remove() {
	ovs-vsctl -vconsole:err --timeout=60 del-port br-int "fl$1"
	ovn-nbctl -vconsole:err --db="$nb" --timeout=60 --if-exists lsp-del "floor-$1"
	ip link del "fl$1"
}

for ((i = 1; i <= number; i++)); do prepare "$i"; done
for ((i = 1; i <= number; i++)); do
	if [ "$mode" = serial ]; then port "$i"; else port "$i" & fi
done
wait
for ((i = 1; i <= number; i++)); do remove "$i"; done
