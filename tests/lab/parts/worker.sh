# What runs on a node: containerd, kube-proxy, kubelet.

worker() {
	local d=$DIR/$1 k=$DIR/keys i
	mkdir -p "$d/cni" /run/containerd /run/pv
	for ((i = 0; i < VOLUMES; i++)); do mkdir -p "$d/pv/$i"; done
	mount --bind "$d/pv" /run/pv
	# ptp, not bridge: every pod is routed, and what a pod sends to a Service
	# on its own node comes back through conntrack without br_netfilter.
	cat >"$d/cni/lab.conflist" <<-END
		{"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "ptp",
		 "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "$(subnet "$1")"}]],
		          "routes": [{"dst": "0.0.0.0/0"}]}}]}
	END
	containerd_settings "$d" >"$d/containerd.toml"
	kubelet_settings "$1" >"$d/kubelet.yaml"
	echo "nameserver $cp" >"$d/resolv.conf"
	PATH=$(dirname "$(command -v "$CONTAINERD")"):$PATH # the shim that belongs to it
	keep containerd "$CONTAINERD" -c "$d/containerd.toml"
	until_true 20 test -S /run/containerd/containerd.sock || true
	proxy "$1"
	import "$1" /run/containerd/containerd.sock
	keep kubelet kubelet --config "$d/kubelet.yaml" --kubeconfig "$k/$1.kubeconfig" \
		--node-ip "$(address "$1")" --cert-dir "$d/certs"
}

containerd_settings() { # folder
	if "$CONTAINERD" --version | grep -q ' v\?1\.'; then
		cat <<-END
			version = 2
			disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
			[plugins."io.containerd.grpc.v1.cri"]
			sandbox_image = "lab.local/pause:1"
			restrict_oom_score_adj = true
			[plugins."io.containerd.grpc.v1.cri".cni]
			bin_dir = "$CNI"
			conf_dir = "$1/cni"
		END
	else
		cat <<-END
			version = 3
			disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
			[plugins."io.containerd.cri.v1.images".pinned_images]
			sandbox = "lab.local/pause:1"
			[plugins."io.containerd.cri.v1.runtime"]
			restrict_oom_score_adj = true
			[plugins."io.containerd.cri.v1.runtime".cni]
			bin_dirs = ["$CNI"]
			conf_dir = "$1/cni"
		END
	fi
}

kubelet_settings() { # node
	cat <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $DIR/keys/ca.crt}}
		authorization: {mode: Webhook}
		cgroupDriver: cgroupfs
		cgroupRoot: /$LAB/$1
		failCgroupV1: false
		failSwapOn: false
		oomScoreAdj: 0
		clusterDNS: [$cp]
		clusterDomain: cluster.local
		containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
		resolvConf: $DIR/$1/resolv.conf
		evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
		imageGCHighThresholdPercent: 100
		nodeStatusUpdateFrequency: $HEARTBEAT
		nodeStatusReportFrequency: 1m
		nodeLeaseDurationSeconds: 12
		volumePluginDir: $DIR/$1/plugins
	END
}

# --- images, which no registry holds ---

import() { # node socket: every image that the node does not have yet
	local tar mark
	mkdir -p "$DIR/$1/imported" "$DIR/images"
	for tar in "$IMAGES"/*.tar "$DIR"/images/*.tar; do
		[ -f "$tar" ] || continue
		mark=$DIR/$1/imported/$(basename "$tar").$(stat -c %s.%Y "$tar")
		[ ! -f "$mark" ] || continue
		if ! timeout 120 "$CTR" -a "$2" -n k8s.io images import "$tar" >>"$DIR/$1/import.log" 2>&1; then
			echo "$1 does not take $tar: $(tail -n 1 "$DIR/$1/import.log")"
			return 1
		fi
		touch "$mark"
	done
}

socket() { echo "/proc/$(inner "$1")/root/run/containerd/containerd.sock"; }

verb_load() { # image: nodes that are off take it when they start
	local n jobs=() job
	[ -f "${1:-}" ] || usage "lab load IMAGE.tar"
	mkdir -p "$DIR/images"
	cmp -s "$1" "$DIR/images/$(basename "$1")" || {
		cp "$1" "$DIR/images/.new"
		mv "$DIR/images/.new" "$DIR/images/$(basename "$1")"
	}
	for n in $(nodes); do
		if alive "$n" && ! frozen "$n"; then
			import "$n" "$(socket "$n")" >&2 &
			jobs+=($!)
		fi
	done
	for job in "${jobs[@]}"; do
		wait "$job" || fault "a node did not take the image $1"
	done
}
