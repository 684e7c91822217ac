# Machines: one process tree each, with its own network, pid, mount, uts and ipc namespaces.

groups() { # every cgroup hierarchy that kubelets and runc use
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then # v2 alone
		echo /sys/fs/cgroup
	else
		awk '$3 ~ "^cgroup2?$" && $2 ~ "^/sys/fs/cgroup/" {print $2}' /proc/self/mounts | sort -u
	fi
}

enclose() { # machine: make its cgroups and move this shell there
	local g d
	for g in $(groups); do
		for d in "$g/$LAB" "$g/$LAB/$1" "$g/$LAB/$1/sys"; do
			mkdir -p "$d"
			if [ "$g" = /sys/fs/cgroup ]; then # v2: pass every controller down
				sed 's/[^ ]*/+&/g' "$d/../cgroup.controllers" >"$d/../cgroup.subtree_control"
			elif [ -f "$d/cpuset.cpus" ]; then # v1: a new cpuset is empty
				cat "$d/../cpuset.cpus" >"$d/cpuset.cpus"
				cat "$d/../cpuset.mems" >"$d/cpuset.mems"
			fi
		done
		echo $BASHPID >"$d/cgroup.procs"
	done
}

power() { # machine
	mkdir -p "$DIR/$1"
	(
		trap - ERR
		enclose "$1"
		# Only what the machine needs: no lock or pipe of the caller lives on in it.
		exec 8>&- 9>&-
		exec setsid nsenter --net="/var/run/netns/$LAB-$1" \
			unshare --pid --fork --kill-child --mount --mount-proc --uts --ipc \
			env -i PATH="$PATH" LANG=C HOME=/root LAB="$LAB" HOLDFAST_CACHE="$CACHE" \
			"$BASH" "$self" _boot "$1"
	) >>"$DIR/$1/boot.log" 2>&1 </dev/null &
	echo $! >"$DIR/$1/pid"
}

inner() { pgrep -P "$(cat "$DIR/$1/pid")" -o; } # the machine's process 1, as seen from here
alive() {
	[ -f "$DIR/$1/pid" ] && tr '\0' ' ' <"/proc/$(cat "$DIR/$1/pid")/cmdline" 2>/dev/null | grep -q "_boot $1 \$"
}

boot() { # runs as process 1 of the machine
	hostname "$1"
	rm -f "$DIR/$1"/*.hold
	HOSTNAME=$1
	mount --make-rprivate /
	mount -t tmpfs tmpfs /run
	mkdir -p /run/lock /run/netns "$DIR/$1/lib" "$DIR/$1/log"
	mount --bind "$DIR/$1/lib" /var/lib
	mount --bind "$DIR/$1/log" /var/log
	mount --make-rshared /
	# The clients of a machine whose cable was pulled must notice it in seconds.
	export PATH=$BIN:$PATH HTTP2_READ_IDLE_TIMEOUT_SECONDS=4 HTTP2_PING_TIMEOUT_SECONDS=2
	if [ "$1" = cp ]; then control; else worker "$1"; fi
	trap - ERR
	set +e
	while :; do wait -n || sleep 1; done # reap
}

keep() { # name command...: run it again whenever it ends, as static pods would
	local name=$1
	shift
	while :; do
		while [ -e "$DIR/$HOSTNAME/$name.hold" ]; do sleep 0.1; done
		"$@" >>"$DIR/$HOSTNAME/$name.log" 2>&1 &
		echo $! >"/run/$name.pid"
		wait $! || true
		sleep 0.3
	done &
}

pids() {
	local g
	g=$(groups | head -1)
	find "$g/$LAB/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

empty() { [ -z "$(pids "$1")" ]; }

off() { # machine: its process 1 goes, and with it everything in it
	# The dead do not die while they are frozen.
	! alive "$1" || thaw "$1"
	! alive "$1" || kill -9 "$(cat "$DIR/$1/pid")"
	until_true 20 empty "$1" || fault "machine $1 does not end: processes $(pids "$1" | tr '\n' ' ')"
	rm -f "$DIR/$1/pid"
	unplug_pods "$1"
	sweep "$1" || until_true 5 sweep "$1" || fault "the cgroups of machine $1 cannot be removed"
}

# The kernel takes dead pods' interfaces away in its own time. One that lingers into the next start keeps its route, a
# new pod with the same address takes that route for its own, and then it goes.
unplug_pods() {
	local link
	for link in $(ip -n "$LAB-$1" -o link 2>/dev/null | sed -n 's/^[0-9]*: \(veth[^@:]*\)[@:].*/\1/p'); do
		ip -n "$LAB-$1" link del "$link" 2>/dev/null || true
	done
}

sweep() { # the cgroups of a machine, or all ("")
	local g
	for g in $(groups); do
		[ ! -d "$g/$LAB/$1" ] || find "$g/$LAB/$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
		[ ! -d "$g/$LAB/$1" ] || return 1
	done
}

# --- pause and go on ---

freezer() {
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		echo "/sys/fs/cgroup/$LAB/$1"
	else
		echo "/sys/fs/cgroup/freezer/$LAB/$1"
	fi
}

frozen() { # machine: does it say so, and is it done with freezing?
	local f
	f=$(freezer "$1")
	if [ -f "$f/freezer.state" ]; then
		grep -qx FROZEN "$f/freezer.state"
	else
		grep -qx 'frozen 1' "$f/cgroup.events"
	fi
}

thaw() { # machine, and every container in it that was frozen by itself
	local f
	find "$(freezer "$1")" \( -name freezer.state -o -name cgroup.freeze \) 2>/dev/null | while read -r f; do
		case $f in
		*freezer.state) echo THAWED >"$f" ;;
		*) echo 0 >"$f" ;;
		esac
	done
}

verb_pause() {
	local f
	machine "${1:-}"
	alive "$1" || fault "machine $1 is off"
	f=$(freezer "$1")
	if [ -f "$f/freezer.state" ]; then
		echo FROZEN >"$f/freezer.state"
	else
		echo 1 >"$f/cgroup.freeze"
	fi
	until_true 10 frozen "$1" || fault "machine $1 does not freeze"
}

verb_resume() {
	local f
	machine "${1:-}"
	alive "$1" || fault "machine $1 is off"
	f=$(freezer "$1")
	if [ -f "$f/freezer.state" ]; then
		echo THAWED >"$f/freezer.state"
	else
		echo 0 >"$f/cgroup.freeze"
	fi
}

verb_kill() { # the network goes first: a dead machine sends no resets
	machine "${1:-}"
	verb_cut "$1"
	off "$1"
}

verb_start() {
	machine "${1:-}"
	! alive "$1" || fault "machine $1 is on"
	# No rule outlives a power cut.
	nsenter --net="/var/run/netns/$LAB-$1" nft flush ruleset
	verb_join "$1"
	power "$1"
}
