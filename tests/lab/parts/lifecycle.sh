# Up, down, status: the lab as a whole.

up() {
	local n
	[ "$(id -u)" = 0 ] || fault "the lab needs root"
	if [ -f "$DIR/settings" ]; then
		n=${NODES:-}
		settings
		if alive cp; then
			[ "${n:-$NODES}" = "$NODES" ] || fault "lab $LAB is up with $NODES nodes, not $n: take it down first"
			wait_up
			say "lab $LAB was up already: $NODES nodes Ready"
			return
		fi
		say "lab $LAB is left over from an earlier start of this host: clearing it away"
		down
		[ -z "$n" ] || NODES=$n
	fi
	settings
	built
	[ -z "$(missing_packages)" ] || fault "packages are missing: run tests/lab/lab prepare"
	[ ! -e "/var/run/netns/$LAB-cp" ] || fault "there is a network namespace $LAB-cp that is not ours"
	mkdir -p "$DIR"
	record_settings
	remember_host
	authority "$DIR/keys" "$api" "IP:$cp" IP:127.0.0.1 "IP:$service_ip"
	network
	say "lab $LAB: control plane and $NODES nodes are starting"
	for n in cp $(nodes); do power "$n"; done
	wait_up
	[ "$NODES" = 0 ] || volumes | ask apply -f - >/dev/null
	say "lab $LAB is up: Kubernetes $kubernetes, $NODES nodes Ready"
}

wait_up() {
	local n
	if ! until_true 180 all_up; then
		for n in "$DIR"/*/*.log; do
			[ ! -s "$n" ] || echo "--- ${n#"$DIR/"}: $(tail -n 1 "$n")" >&2
		done
		fault "lab $LAB is not ready after three minutes"
	fi
}

all_up() {
	local n
	for n in cp $(nodes); do
		# It may just be starting, and the host may be busy.
		until_true 15 alive "$n" || fault "machine $n is off: $(tail -n 3 "$DIR/$n/boot.log")"
	done
	[ "$(ask get nodes --no-headers | grep -cw Ready)" = "$NODES" ] && ask get serviceaccount default >/dev/null
}

volumes() { # a storage class and the volumes of every node
	local n i
	cat <<-END
		apiVersion: storage.k8s.io/v1
		kind: StorageClass
		metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
		provisioner: kubernetes.io/no-provisioner
		volumeBindingMode: WaitForFirstConsumer
	END
	for n in $(nodes); do
		for ((i = 0; i < VOLUMES; i++)); do
			cat <<-END
				---
				apiVersion: v1
				kind: PersistentVolume
				metadata: {name: $n-$i}
				spec:
				  capacity: {storage: 1Gi}
				  accessModes: [ReadWriteOnce]
				  persistentVolumeReclaimPolicy: Retain
				  storageClassName: local
				  local: {path: /run/pv/$i}
				  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$n]}]}]}}
			END
		done
	done
}

# --- down ---

# Kubelets change settings of the whole host, and the first network namespace of a host mounts their folder. The first
# lab notes how things were, the last one puts them back. What is left over from before a restart of the host is neither
# a lab nor a note of how this host was.
boot_id=$(cat /proc/sys/kernel/random/boot_id)

remember_host() {
	exec 9>"$STATE/lock"
	flock 9
	echo "$boot_id" >"$DIR/boot"
	if [ "$(cat "$STATE/boot.before" 2>/dev/null)" != "$boot_id" ]; then
		if mountpoint -q /run/netns; then echo mount; elif [ -d /run/netns ]; then echo folder; else echo nothing; fi \
			>"$STATE/netns.before"
		sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops \
			vm.panic_on_oom kernel.keys.root_maxkeys kernel.keys.root_maxbytes | tr -d ' ' >"$STATE/sysctl.before"
		echo "$boot_id" >"$STATE/boot.before"
	fi
	exec 9>&-
}

restore_host() {
	exec 9>"$STATE/lock"
	flock 9
	if [ "$(cat "$STATE/boot.before" 2>/dev/null)" = "$boot_id" ] && ! labs_of_this_boot; then
		sysctl -qp "$STATE/sysctl.before" >/dev/null || true
		restore_netns
		rm -f "$STATE"/*.before
	fi
	exec 9>&-
}

labs_of_this_boot() { grep -qsx "$boot_id" "$STATE"/*/boot; }

restore_netns() {
	local before
	before=$(cat "$STATE/netns.before")
	# Somebody else's namespaces may have come meanwhile: then the folder stays.
	[ "$before" != mount ] && mountpoint -q /run/netns && [ -z "$(ls -A /run/netns)" ] || return 0
	umount /run/netns
	[ "$before" != nothing ] || rmdir /run/netns
}

down() {
	local n g
	[ "$(id -u)" = 0 ] || fault "the lab needs root"
	if [ ! -d "$DIR" ]; then
		say "there is no lab $LAB"
		return
	fi
	settings
	end_forwards
	for n in $(nodes) cp; do
		off "$n"
		ip netns del "$LAB-$n" 2>/dev/null || true
	done
	for g in $(groups); do [ ! -d "$g/$LAB" ] || rmdir "$g/$LAB"; done
	rm -rf --one-file-system "$DIR"
	restore_host
	say "lab $LAB is down"
}

# --- what there is ---

state() { # machine
	if ! alive "$1"; then
		echo off
	elif frozen "$1"; then
		echo paused
	elif ! linked "$1"; then
		echo cut
	elif [ "$1" != cp ] && nsenter --net="/var/run/netns/$LAB-$1" nft list table inet lab_block >/dev/null 2>&1; then
		echo blocked
	else
		echo on
	fi
}

status() {
	local n
	if [ ! -f "$DIR/settings" ]; then
		echo "lab $LAB: down"
		return
	fi
	settings
	echo "lab $LAB: state in $DIR, programs in $BIN"
	for n in cp $(nodes); do
		printf '%-3s %-15s %s\n' "$n" "$([ "$n" = cp ] && echo $cp || address "$n")" "$(state "$n")"
	done
	if [ -e "$DIR/cp/kube-apiserver.hold" ]; then
		echo "API server: stopped"
	elif alive cp && ! frozen cp && ready; then
		echo "API server: ready"
		[ "$NODES" = 0 ] || ask get nodes
	else
		echo "API server: does not answer"
	fi
}

# --- running things in it ---

verb_run() {
	machine "${1:-}"
	local m=$1
	shift
	[ $# -gt 0 ] || usage "lab run MACHINE COMMAND..."
	exec nsenter --net="/var/run/netns/$LAB-$m" \
		env PATH="$BIN:$PATH" KUBECONFIG="$DIR/keys/admin.kubeconfig" LAB="$LAB" HOLDFAST_CACHE="$CACHE" "$@"
}

verb_kubectl() { verb_run cp kubectl "$@"; }
verb_helm() { verb_run cp helm "$@"; }

verb_dump() { # folder
	local out=${1:-} n ns pod
	[ -n "$out" ] || usage "lab dump FOLDER"
	mkdir -p "$out"
	status >"$out/status.txt" 2>&1 || true
	for n in cp $(nodes); do
		mkdir -p "$out/$n"
		cp "$DIR/$n"/*.log "$out/$n/" 2>/dev/null || true
	done
	ask get all,leases,pvc,configmaps -A -o wide >"$out/objects.txt" || true
	ask get events -A --sort-by=.lastTimestamp >"$out/events.txt" || true
	ask describe pods -A >"$out/pods.txt" || true
	ask get pods -A --no-headers | while read -r ns pod _; do
		ask logs -n "$ns" "$pod" --all-containers --tail=2000 >"$out/$ns.$pod.log" </dev/null || true
		ask logs -n "$ns" "$pod" --all-containers --tail=2000 --previous >"$out/$ns.$pod.previous.log" </dev/null ||
			rm -f "$out/$ns.$pod.previous.log"
	done || true
	say "kept in $out"
}
