# What runs on the control plane's machine, and the API server's own verbs.

control() {
	local k=$DIR/keys
	keep etcd etcd --data-dir "$DIR/cp/etcd" --unsafe-no-fsync --log-level warn
	keep kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
		--advertise-address=$cp --secure-port=6443 --service-cluster-ip-range=$services \
		--tls-cert-file="$k/apiserver.crt" --tls-private-key-file="$k/apiserver.key" \
		--client-ca-file="$k/ca.crt" --token-auth-file="$k/tokens.csv" \
		--kubelet-client-certificate="$k/kubelet-client.crt" --kubelet-client-key="$k/kubelet-client.key" \
		--kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC \
		--enable-admission-plugins=NodeRestriction --enable-aggregator-routing=true --allow-privileged=true \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-key-file="$k/sa.pub" --service-account-signing-key-file="$k/sa.key" \
		--default-not-ready-toleration-seconds="$TOLERATE" --default-unreachable-toleration-seconds="$TOLERATE" \
		--profiling=false --cert-dir="$DIR/cp/certs"
	# The controllers back off for seconds when they start before the API.
	until kubectl --kubeconfig "$k/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
	keep kube-controller-manager kube-controller-manager --kubeconfig="$k/kube-controller-manager.kubeconfig" \
		--service-account-private-key-file="$k/sa.key" --root-ca-file="$k/ca.crt" \
		--cluster-signing-cert-file="$k/ca.crt" --cluster-signing-key-file="$k/ca.key" \
		--use-service-account-credentials=true --leader-elect=false \
		--kube-api-qps=300 --kube-api-burst=600 --profiling=false \
		--node-monitor-grace-period="$GRACE" --node-monitor-period=2s \
		--cert-dir="$DIR/cp/certs" --flex-volume-plugin-dir="$DIR/cp/plugins"
	[ "$NODES" != 0 ] || return 0
	keep kube-scheduler kube-scheduler --kubeconfig="$k/kube-scheduler.kubeconfig" \
		--leader-elect=false --profiling=false --cert-dir="$DIR/cp/certs"
	# Names outside of the cluster do not exist. They have a block of their own:
	# "template" comes before "kubernetes" in CoreDNS and would answer everything.
	cat >"$DIR/cp/Corefile" <<-END
		cluster.local:53 in-addr.arpa:53 {
		    errors
		    ready 127.0.0.1:8181
		    kubernetes cluster.local in-addr.arpa {
		        kubeconfig $k/admin.kubeconfig lab
		        ttl 1
		    }
		}
		.:53 {
		    template ANY ANY {
		        rcode NXDOMAIN
		    }
		}
	END
	keep coredns coredns -conf "$DIR/cp/Corefile"
	# kube-proxy wants a Node of its own and there is none called cp: n1 lends its name.
	proxy n1
}

proxy() { # node whose view of the Services it takes
	cat >"$DIR/$HOSTNAME/proxy.yaml" <<-END
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		clientConnection: {kubeconfig: $DIR/keys/kube-proxy.kubeconfig}
		mode: nftables
		clusterCIDR: $pods
		detectLocalMode: ClusterCIDR
		oomScoreAdj: 0
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
	END
	keep kube-proxy kube-proxy --config "$DIR/$HOSTNAME/proxy.yaml" --hostname-override "$1"
}

# --- the API server goes away while nodes, pods and etcd go on ---
#
# The controllers and the scheduler are ended with it and started after it: with
# leader election, which a lab of one has no use for, they would have lost their
# lease and ended too. Otherwise they would come back believing that every node
# has been silent for the whole outage, and evict pods from those whose kubelet
# is slow to hear of it (half a minute and more, by the kubelet's own back-off).
controllers="kube-controller-manager kube-scheduler"

of_cp() { # program: its process id seen from here
	local pid
	for pid in $(pids cp); do
		[ "$( (tr '\0' '\n' <"/proc/$pid/cmdline" | head -n 1) 2>/dev/null)" != "$1" ] || echo "$pid"
	done | head -n 1
}

ended() { [ -z "$(of_cp "$1")" ]; }

hold() { # program
	local pid
	touch "$DIR/cp/$1.hold"
	pid=$(of_cp "$1")
	[ -z "$pid" ] || kill -9 "$pid"
	until_true 10 ended "$1" || fault "$1 does not end"
}

verb_stop_api() { # [frozen]: connections are accepted by nobody, instead of being refused
	local program pid
	alive cp || fault "machine cp is off"
	case ${1:-} in
	frozen)
		pid=$(of_cp kube-apiserver)
		[ -z "$pid" ] || kill -STOP "$pid"
		;;
	"") hold kube-apiserver ;;
	*) usage "lab stop-api [frozen]" ;;
	esac
	for program in $controllers; do hold "$program"; done
}

verb_start_api() {
	local program pid
	alive cp || fault "machine cp is off"
	pid=$(of_cp kube-apiserver)
	rm -f "$DIR/cp/kube-apiserver.hold"
	[ -z "$pid" ] || kill -CONT "$pid"
	until_true 60 ready || fault "the API server is not ready after a minute: $(tail -n 1 "$DIR/cp/kube-apiserver.log")"
	for program in $controllers; do rm -f "$DIR/cp/$program.hold"; done
}
