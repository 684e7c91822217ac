# Faults of a single container. They go to the node's containerd, not through
# the API: so they work while the API server is away or the node is cut off.

tasks() { timeout 20 "$CTR" -a "$(socket "$1")" -n k8s.io "${@:2}"; }

container() { # namespace pod [container]: "node id", of the one that runs now
	local n filter ids found
	filter="labels.\"io.kubernetes.pod.namespace\"==\"$1\",labels.\"io.kubernetes.pod.name\"==\"$2\",labels.\"io.cri-containerd.kind\"==\"container\""
	[ -z "${3:-}" ] || filter+=",labels.\"io.kubernetes.container.name\"==\"$3\""
	for n in $(nodes); do
		if ! alive "$n" || frozen "$n"; then continue; fi
		ids=$(tasks "$n" containers ls -q "$filter")
		[ -n "$ids" ] || continue
		found=$(tasks "$n" tasks ls | awk '$3 == "RUNNING" || $3 == "PAUSED" {print $1}' | grep -Fx "$ids" | head -n 1) || true
		if [ -n "$found" ]; then
			echo "$n $found"
			return
		fi
	done
	fault "no running container of pod $1/$2 on any node that is on"
}

on_container() { # namespace pod container command... ("ID" stands for its id)
	local where
	[ -n "$1" ] && [ -n "$2" ] || usage "namespace and pod are needed"
	where=$(container "$1" "$2" "$3")
	tasks "${where% *}" tasks "${@:4}" "${where#* }"
}

verb_crash_pod() { on_container "${1:-}" "${2:-}" "${3:-}" kill -s SIGKILL; }
verb_thaw_pod() { on_container "${1:-}" "${2:-}" "${3:-}" resume; }

verb_freeze_pod() { # namespace pod [seconds [container]]
	local where
	[[ ${3:-0} =~ ^[0-9.]+$ ]] || usage "lab freeze-pod NS POD [SECONDS [CONTAINER]]"
	[ -n "${1:-}" ] && [ -n "${2:-}" ] || usage "namespace and pod are needed"
	where=$(container "$1" "$2" "${4:-}")
	tasks "${where% *}" tasks pause "${where#* }"
	[ -n "${3:-}" ] || return 0
	sleep "$3"
	# It may be gone by now: a liveness probe that failed has ended it.
	tasks "${where% *}" tasks resume "${where#* }" 2>/dev/null || echo "the container ended while it was frozen" >&2
}
