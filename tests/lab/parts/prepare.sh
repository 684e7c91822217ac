# What the lab needs: Debian packages, one program of all Kubernetes parts, a pause image.

kubernetes=v1.37.2 helm=v4.3.1

# The program is built once for its sources, outside of the work tree.
toolbox() {
	local hash
	hash=$(cat "$here"/labkube/go.mod "$here"/labkube/go.sum "$here"/labkube/*.go | sha256sum | head -c 16)
	TOOLS=$CACHE/lab/$hash
	BIN=$TOOLS/bin IMAGES=$TOOLS/img
}

built() {
	[ -x "$BIN/labkube" ] && [ -f "$IMAGES/pause.tar" ] ||
		fault "the lab's programs are not built yet: run tests/lab/lab prepare"
}

missing_packages() { # the Debian packages of the commands that are not there
	local command package
	while read -r command package; do
		command -v "$command" >/dev/null || echo "$package"
	done <<-END
		containerd containerd
		ctr containerd
		runc runc
		${CNI:-/usr/lib/cni}/ptp containernetworking-plugins
		nft nftables
		ip iproute2
		unshare util-linux
		nsenter util-linux
		setpriv util-linux
		flock util-linux
		openssl openssl
		musl-gcc musl-tools
		cc build-essential
		python3 python3
		pgrep procps
		sysctl procps
	END
}

packages() {
	local list
	list=$(missing_packages | sort -u | tr '\n' ' ')
	list=${list% }
	[ -n "$list" ] || return 0
	[ "$(id -u)" = 0 ] || fault "not root, and these Debian packages are missing: $list"
	command -v apt-get >/dev/null || fault "no apt-get here; install what these Debian packages hold: $list"
	say "will install these Debian packages: $list"
	mkdir -p "$CACHE"
	{
		apt-get update &&
			DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $list
	} >"$CACHE/apt.log" 2>&1 || {
		tail -n 15 "$CACHE/apt.log" >&2
		fault "the packages could not be installed (whole log: $CACHE/apt.log)"
	}
	say "packages installed"
}

labkube() {
	local p=k8s.io/component-base/version flags pid end=0 lines
	[ ! -x "$BIN/labkube" ] || return 0
	command -v go >/dev/null || fault "no Go toolchain: install Go 1.26 or newer (go.dev/dl) and put it into PATH"
	mkdir -p "$BIN"
	flags="-s -w -X $p.gitVersion=$kubernetes -X $p.gitMajor=1 -X $p.gitMinor=37 -X $p.gitTreeState=clean"
	flags+=" -X $p.buildDate=1970-01-01T00:00:00Z -X helm.sh/helm/v4/internal/version.version=$helm"
	say "building Kubernetes $kubernetes, etcd, CoreDNS and helm into one program:" \
		"about 15 CPU minutes the first time, seconds when Go's cache is warm"
	(
		cd "$here/labkube"
		exec env CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 10 \
			go build -v -buildvcs=false -trimpath -ldflags "$flags" -o "$BIN/labkube.new" .
	) >"$TOOLS/build.log" 2>&1 &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		sleep 1
		end=$((end + 1))
		if [ $((end % 20)) = 0 ]; then
			lines=$(grep -vc '^go: ' "$TOOLS/build.log" || true)
			say "  ... $lines packages compiled (a cold build has about 2,300)"
		fi
	done
	wait $pid || {
		tail -n 15 "$TOOLS/build.log" >&2
		fault "the programs could not be built (whole log: $TOOLS/build.log)"
	}
	mv "$BIN/labkube.new" "$BIN/labkube"
	say "built: $(du -h "$BIN/labkube" | cut -f1) $BIN/labkube"
}

links() {
	local part
	for part in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl etcd coredns helm; do
		ln -sfn labkube "$BIN/$part"
	done
}

pause_image() {
	[ ! -f "$IMAGES/pause.tar" ] || return 0
	mkdir -p "$IMAGES"
	musl-gcc -Os -static -s -o "$BIN/pause" "$here/pause.c"
	python3 "$here/../../deploy/image/mkimage.py" lab.local/pause:1 "$BIN/pause" "$IMAGES/pause.new"
	mv "$IMAGES/pause.new" "$IMAGES/pause.tar"
	say "made the pause image"
}

prepare() { # [packages | programs]: one half alone; "lab apiserver" needs the programs, and no root
	local what=${1:-all}
	settings
	toolbox
	[ "$what" = programs ] || packages
	[ "$what" != packages ] || return 0
	mkdir -p "$TOOLS"
	exec 8>"$CACHE/lab/lock"
	if ! flock -n 8; then
		say "waiting for another build of the lab's programs"
		flock 8
	fi
	labkube
	links
	[ "$what" = programs ] || pause_image
	exec 8>&-
	say "the lab's programs are in $TOOLS"
}
