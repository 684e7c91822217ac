# The network: one switch in the control plane's machine, a cable to every node, no way out.

network() {
	local n
	ip netns add "$LAB-cp"
	ip -n "$LAB-cp" link set lo up
	ip -n "$LAB-cp" link add br0 type bridge
	ip -n "$LAB-cp" addr add $cp/24 dev br0
	ip -n "$LAB-cp" link set br0 up
	for n in $(nodes); do
		ip netns add "$LAB-$n"
		ip -n "$LAB-$n" link set lo up
		ip -n "$LAB-cp" link add "$n" type veth peer name eth0 netns "$LAB-$n"
		ip -n "$LAB-cp" link set "$n" master br0 up
	done
	for n in cp $(nodes); do wire "$n"; done
}

plug() { echo "${1/#cp/br0}"; } # where a machine meets the switch

wire() { # a machine's own addresses and routes (a link that goes down forgets its routes)
	local m
	if [ "$1" = cp ]; then
		for m in $(nodes); do
			ip -n "$LAB-cp" route replace "$(subnet "$m")" via "$(address "$m")"
		done
		ip -n "$LAB-cp" route replace $services dev br0
		return
	fi
	ip -n "$LAB-$1" addr replace "$(address "$1")/24" dev eth0
	ip -n "$LAB-$1" link set eth0 up
	ip -n "$LAB-$1" route replace default via $cp
	for m in $(nodes); do
		[ "$m" = "$1" ] || ip -n "$LAB-$1" route replace "$(subnet "$m")" via "$(address "$m")"
	done
	# Not "ip netns exec": that would mount a /sys without /sys/fs/cgroup.
	nsenter --net="/var/run/netns/$LAB-$1" sysctl -qw net.ipv4.ip_forward=1
}

linked() { ip -n "$LAB-cp" link show "$(plug "$1")" up 2>/dev/null | grep -q .; }

verb_cut() {
	machine "${1:-}"
	ip -n "$LAB-cp" link set "$(plug "$1")" down
}

verb_join() {
	machine "${1:-}"
	ip -n "$LAB-cp" link set "$(plug "$1")" up
	wire "$1"
}

# A block drops packets inside the node, for it and its pods, before any other
# rule sees them: the other side hears nothing and gets no reset.
verb_block() { # node api|cp|node2
	local what=${2:-} rules
	machine "${1:-}"
	[ "$1" != cp ] || usage "block takes a node: the other end may be cp or api"
	case $what in
	api)
		# After Services became addresses, so that the default Service is caught too.
		rules="ip daddr $cp tcp dport 6443 drop; ip saddr $cp tcp sport 6443 drop;" ;;
	*)
		machine "$what"
		[ "$what" != "$1" ] || usage "a node cannot be blocked from itself"
		if [ "$what" = cp ]; then
			rules="ip daddr $cp drop; ip saddr $cp drop;"
		else
			rules="ip daddr { $(address "$what"), $(subnet "$what") } drop; ip saddr { $(address "$what"), $(subnet "$what") } drop;"
		fi
		;;
	esac
	nsenter --net="/var/run/netns/$LAB-$1" nft -f - <<-END
		add table inet lab_block
		add chain inet lab_block out { type filter hook output priority 300; policy accept; }
		add chain inet lab_block through { type filter hook forward priority 300; policy accept; }
		add chain inet lab_block into { type filter hook input priority -300; policy accept; }
		$(for chain in out through into; do
			tr ';' '\n' <<<"$rules" | sed -n "s/^ *\(ip .*\)/add rule inet lab_block $chain \1/p"
		done)
	END
}

verb_unblock() {
	machine "${1:-}"
	nsenter --net="/var/run/netns/$LAB-$1" nft 'add table inet lab_block; delete table inet lab_block'
}

# --- from this host into the lab ---

verb_forward() { # port address:port
	local pid ref
	[[ ${1:-} =~ ^[0-9]+$ && ${2:-} =~ ^[0-9.]+:[0-9]+$ ]] || usage "lab forward PORT ADDRESS:PORT"
	ref=$DIR/forward-$1
	if [ -f "$ref.pid" ]; then
		pid=$(cat "$ref.pid")
		if forwards "$pid" "$1"; then
			[ "$(cat "$ref.to")" != "$2" ] || return 0
			kill "$pid"
			until_true 5 gone "$pid" || fault "the forward of port $1 does not end"
		fi
	fi
	: >"$ref.log"
	setsid "$BIN/labkube" forward "127.0.0.1:$1" "/var/run/netns/$LAB-cp" "$2" >"$ref.log" 2>&1 </dev/null &
	pid=$!
	echo $pid >"$ref.pid"
	echo "$2" >"$ref.to"
	until_true 10 forwarding "$pid" "$ref.log" || fault "no forward on port $1"
}

gone() { ! kill -0 "$1" 2>/dev/null; }
forwards() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q "forward 127.0.0.1:$2 /var/run/netns/$LAB-cp "; }
forwarding() {
	kill -0 "$1" 2>/dev/null || fault "$(tail -n 1 "$2")"
	grep -q '^ready' "$2"
}

end_forwards() {
	local ref port pid
	for ref in "$DIR"/forward-*.pid; do
		[ -f "$ref" ] || continue
		port=${ref##*forward-} pid=$(cat "$ref")
		! forwards "$pid" "${port%.pid}" || kill "$pid" 2>/dev/null || true
	done
}

verb_api_forward() {
	[[ ${1:-} =~ ^[0-9]+$ ]] || usage "lab api-forward PORT"
	verb_forward "$1" "$cp:6443"
	sed "s#$api#https://127.0.0.1:$1#" "$DIR/keys/admin.kubeconfig" >"$DIR/keys/host.kubeconfig"
	echo "$DIR/keys/host.kubeconfig"
}
