# Settings, messages, and the small things that every part uses.

LAB=${LAB:-lab1}
PATH=$PATH:/usr/sbin:/sbin # nft, ip and runc, for who became root without a login
CACHE=${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/holdfast}
STATE=$CACHE/labs # one folder per running lab, and what they share
DIR=$STATE/$LAB

# The same addresses in every lab: none has a way out, so none meets another.
cp=198.18.0.1 services=198.19.0.0/20 service_ip=198.19.0.1 pods=198.18.16.0/20
api=https://$cp:6443

began=$(date +%s%N)

say() { # a line of progress, with the seconds since the command began
	local now
	now=$((($(date +%s%N) - began) / 100000000))
	printf '%4d.%d s  %s\n' $((now / 10)) $((now % 10)) "$*" >&2
}

fault() { # the lab's own failure, told apart from a failure of what runs in it
	trap - ERR
	echo "lab fault: $*" >&2
	exit 70
}

usage() {
	echo "$*" >&2
	exit 2
}

trap 'code=$?; [ $code != 70 ] || exit 70; fault "\"$BASH_COMMAND\" ended with $code (${BASH_SOURCE[0]##*/}, line $LINENO)"' ERR

[[ $LAB =~ ^[a-z][a-z0-9]{0,11}$ ]] || usage "LAB=$LAB: use up to 12 small letters and digits"
case $CACHE/ in # a machine mounts its own folders there
/run/* | /var/run/* | /var/lib/* | /var/log/* | /proc/* | /sys/*)
	fault "the cache may not lie in $CACHE: set HOLDFAST_CACHE to a folder elsewhere" ;;
esac
case $here/ in
/run/* | /var/run/* | /var/lib/* | /var/log/*)
	fault "a lab cannot be started from $here: the machines mount their own folders there" ;;
esac

address() { echo "198.18.0.$((10 + ${1#n}))"; }
subnet() { echo "198.18.$((16 + ${1#n})).0/24"; }
nodes() {
	local i
	for ((i = 1; i <= NODES; i++)); do echo "n$i"; done
}

# Settings of a lab are fixed when it is made, and read back by later commands.
settings() {
	if [ -f "$DIR/settings" ]; then
		# shellcheck source=/dev/null
		. "$DIR/settings"
		return
	fi
	NODES=${NODES:-3} VOLUMES=${VOLUMES:-4}
	CONTAINERD=${CONTAINERD:-containerd} CTR=${CTR:-ctr} CNI=${CNI:-/usr/lib/cni}
	# A node's death is noticed sooner than by default (50 s, 10 s, 300 s).
	GRACE=${GRACE:-16s} HEARTBEAT=${HEARTBEAT:-4s} TOLERATE=${TOLERATE:-10}
	[[ $NODES =~ ^[0-9]$ ]] || usage "NODES=$NODES: 0 to 9"
	toolbox
}

record_settings() {
	local name
	for name in NODES VOLUMES CONTAINERD CTR CNI GRACE HEARTBEAT TOLERATE BIN IMAGES; do
		printf '%s=%q\n' "$name" "${!name}"
	done >"$DIR/settings"
}

running() { # stop unless the lab is there
	[ "$(id -u)" = 0 ] || fault "the lab needs root"
	[ -f "$DIR/settings" ] || fault "there is no lab $LAB (LAB=$LAB tests/lab/lab up)"
	settings
}

machine() { # check the name of a machine
	[ "${1:-}" = cp ] || [[ ${1:-} =~ ^n[1-9]$ && ${1#n} -le $NODES ]] ||
		usage "no machine \"${1:-}\" in lab $LAB: cp$(nodes | sed 's/^/, /' | tr -d '\n')"
}

ask() { # kubectl, quiet and bounded: for the lab's own questions
	nsenter --net="/var/run/netns/$LAB-cp" "$BIN/kubectl" --request-timeout=5s \
		--kubeconfig "$DIR/keys/admin.kubeconfig" "$@" 2>/dev/null
}

ready() { ask get --raw /readyz >/dev/null; }

until_true() { # seconds command...: ask again until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
