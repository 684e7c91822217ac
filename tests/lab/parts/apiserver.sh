# The light variant: etcd and kube-apiserver as plain processes on 127.0.0.1, for
# tests that need a real API and no nodes. No root, no namespaces.
#
# Both end with this command, which ends on SIGTERM, SIGINT or when the process
# that started it is gone. They are started again when they end by themselves;
# DIR/kube-apiserver.hold (or DIR/etcd.hold) holds one down for as long as it is
# there. Process ids are in DIR/etcd.pid and DIR/kube-apiserver.pid.

light() { # folder [api port, etcd port, peer port]
	local d k ports
	[ -n "${1:-}" ] || usage "lab apiserver DIR [API_PORT ETCD_PORT PEER_PORT]"
	NODES=0
	toolbox
	[ -x "$BIN/kube-apiserver" ] || fault "the lab's programs are not built yet: run tests/lab/lab prepare programs"
	mkdir -p "$1"
	d=$(cd "$1" && pwd) k=$d/keys
	mapfile -t ports < <("$BIN/labkube" ports 3)
	ports=("${2:-${ports[0]}}" "${3:-${ports[1]}}" "${4:-${ports[2]}}")
	authority "$k" "https://127.0.0.1:${ports[0]}" IP:127.0.0.1
	rm -f "$d"/*.failed "$d/kubeconfig"
	trap "light_end '$d'" EXIT
	trap 'exit 0' TERM INT HUP
	# Each is killed with this shell, even if that is ended without a word.
	light_keep "$d" etcd --data-dir "$d/etcd" --unsafe-no-fsync --log-level warn --name default \
		--listen-client-urls "http://127.0.0.1:${ports[1]}" --advertise-client-urls "http://127.0.0.1:${ports[1]}" \
		--listen-peer-urls "http://127.0.0.1:${ports[2]}" --initial-advertise-peer-urls "http://127.0.0.1:${ports[2]}" \
		--initial-cluster "default=http://127.0.0.1:${ports[2]}"
	light_keep "$d" kube-apiserver --etcd-servers="http://127.0.0.1:${ports[1]}" \
		--bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="${ports[0]}" \
		--service-cluster-ip-range=$services --endpoint-reconciler-type=none \
		--tls-cert-file="$k/apiserver.crt" --tls-private-key-file="$k/apiserver.key" \
		--client-ca-file="$k/ca.crt" --token-auth-file="$k/tokens.csv" --authorization-mode=RBAC \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-key-file="$k/sa.pub" --service-account-signing-key-file="$k/sa.key" \
		--profiling=false --cert-dir="$d/certs"
	until_true 120 light_ready "$d" ||
		fault "kube-apiserver is not ready after two minutes: $(tail -n 2 "$d/kube-apiserver.log")"
	cp "$k/admin.kubeconfig" "$d/kubeconfig.new"
	mv "$d/kubeconfig.new" "$d/kubeconfig"
	echo "ready https://127.0.0.1:${ports[0]} $d/kubeconfig"
	while parent_lives; do sleep 0.5 & wait $! || true; done
}

started_by=$PPID
parent_lives() { # a process whose parent is gone gets another one
	local stat
	read -r stat <"/proc/$$/stat"
	stat=${stat##*) }
	stat=${stat#* }
	[ "${stat%% *}" = "$started_by" ]
}

light_ready() {
	parent_lives || exit 0
	[ ! -s "$1/etcd.failed" ] && [ ! -s "$1/kube-apiserver.failed" ] ||
		fault "$(cat "$1"/*.failed)"
	"$BIN/kubectl" --request-timeout=5s --kubeconfig "$1/keys/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1 &&
		"$BIN/kubectl" --request-timeout=5s --kubeconfig "$1/keys/admin.kubeconfig" get namespace default >/dev/null 2>&1
}

# A chain of parents: when this shell is gone, even by SIGKILL, so is the loop,
# and then the program.
light_keep() { # folder name arguments...
	setpriv --pdeathsig KILL "$BASH" "$self" _keep "$@" &
	keepers+=($!)
}

light_loop() { # folder name arguments...
	local d=$1 name=$2
	shift 2
	toolbox
	trap - ERR
	set +e
	while :; do
		while [ -e "$d/$name.hold" ]; do sleep 0.1; done
		setpriv --pdeathsig KILL "$BIN/$name" "$@" >>"$d/$name.log" 2>&1 &
		echo $! >"$d/$name.pid"
		wait $! 2>/dev/null # no word about those who were killed
		[ -f "$d/kubeconfig" ] || echo "$name ended at once: $(tail -n 1 "$d/$name.log")" >"$d/$name.failed"
		sleep 0.2
	done
}

keepers=()
light_end() { # folder
	local keeper
	trap - ERR
	set +e
	for keeper in "${keepers[@]}"; do kill -9 "$keeper"; done 2>/dev/null
	wait "${keepers[@]}" 2>/dev/null
	rm -f "$1/kubeconfig"
}
