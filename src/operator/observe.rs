//! Everything that a visit sees: one value, the only input of what follows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::StreamExt;
use futures_util::stream;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod as KubePod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use super::build::Context;
use super::build::meta::Kind;
use super::build::storage;
use super::error::{OperatorError, status_code};
use super::live;
use super::node::{Access, NodeStatus};
use super::plan;
use crate::base::clock::UnixMillis;
use crate::crd::cluster::TlsMode;
use crate::k8s::lease::LeaseRecord;
use crate::k8s::words::{LABEL_CLUSTER, STORE_HEAD};

/// Calls at a time on one visit.
const CONCURRENCY: usize = 6;
const NO_ANSWER_YET: &str = "it has no address yet";

/// What a visit sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// When it was seen, by the wall clock.
    pub(crate) now: UnixMillis,
    /// The children that are there, as JSON.
    pub(crate) live: BTreeMap<(Kind, String), Value>,
    /// The StatefulSet's pods, by name.
    pub(crate) pods: Vec<Pod>,
    /// Addresses of ready endpoints, by Service.
    pub(crate) endpoints: BTreeMap<String, Vec<String>>,
    /// What the Lease says; empty if there is none.
    pub(crate) lease: LeaseRecord,
    /// When its holder took it, by the holder's clock.
    pub(crate) lease_acquired: Option<UnixMillis>,
    /// When it was renewed, by its holder's clock.
    pub(crate) lease_renewed: Option<UnixMillis>,
}

/// A pod as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: Option<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The StatefulSet's revision that it was made from.
    pub(crate) revision: String,
    /// Whether the kubelet calls it ready.
    pub(crate) is_ready: bool,
    pub(crate) is_terminating: bool,
    /// Why its container waits or has ended, or why it has no node.
    pub(crate) waiting: Option<String>,
    /// When a container of it ended last, by its node's clock, in whole seconds.
    pub(crate) ended: Option<UnixMillis>,
    /// Whether its container runs.
    pub(crate) is_running: bool,
    /// What it answered, or why it did not.
    pub(crate) answer: Result<NodeStatus, String>,
}

impl Pod {
    /// What it answered.
    pub(crate) fn node_status(&self) -> Option<&NodeStatus> {
        self.answer.as_ref().ok()
    }

    /// The number at the end of its name.
    pub(crate) fn ordinal(&self) -> u32 {
        self.name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(u32::MAX)
    }
}

impl Observed {
    /// A child that is there.
    pub(crate) fn child(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.live.get(&(kind, name.to_owned()))
    }

    /// A Secret that is there.
    pub(crate) fn secret(&self, name: &str) -> Option<&Value> {
        self.child(Kind::Secret, name)
    }

    /// Whether the head in the Kubernetes API is that of an initialised vault; `None` if there is no head object.
    pub(crate) fn head_is_written(&self, name: &str) -> Option<bool> {
        self.child(Kind::Head, name).map(|head| live::annotation(head, STORE_HEAD).is_some())
    }
}

/// Looks at everything.
///
/// # Errors
/// When the API server does not answer; a pod that does not is part of what is seen.
pub(crate) async fn observe(
    client: &Client,
    context: &Context<'_>,
    now: UnixMillis,
) -> Result<Observed, OperatorError> {
    let mut out = Observed { now, ..Observed::default() };
    let reads = stream::iter(names(context)).map(|(kind, name)| async move {
        let found = get(client, context, kind, &name).await?;
        Ok::<_, OperatorError>(((kind, name), found))
    });
    let mut reads = reads.buffer_unordered(CONCURRENCY);
    while let Some(read) = reads.next().await {
        let (key, found) = read?;
        if let Some(found) = found {
            out.live.insert(key, found);
        }
    }
    drop(reads);
    if let Some(lease) = out.child(Kind::Lease, &context.names.base) {
        let lease: Lease =
            serde_json::from_value(lease.clone()).map_err(|error| OperatorError::Malformed {
                what: format!("Lease {}", context.names.base),
                reason: error.to_string(),
            })?;
        let spec = lease.spec.as_ref();
        out.lease_acquired = spec.and_then(|spec| spec.acquire_time.as_ref()).and_then(|time| millis(time.0));
        out.lease_renewed = spec.and_then(|spec| spec.renew_time.as_ref()).and_then(|time| millis(time.0));
        out.lease = LeaseRecord::read(&lease);
    }
    out.endpoints = endpoints(client, context).await?;
    out.pods = pods(client, context, &out).await?;
    Ok(out)
}

/// Everything that is read by name.
fn names(context: &Context<'_>) -> Vec<(Kind, String)> {
    let mut names: Vec<_> =
        plan::children(context).into_iter().map(|child| (child.kind, child.name)).collect();
    for name in [
        context.names.ca(),
        context.names.ca_cert(),
        context.names.issuer(),
        context.names.unseal_key(),
        context.names.init(),
    ] {
        names.push((Kind::Secret, name));
    }
    let former = context.cluster.status.as_ref().and_then(|status| status.config_secret.clone());
    names.extend(former.map(|name| (Kind::Secret, name)));
    if let Some(reference) = &context.cluster.spec.tls.secret_ref {
        names.push((Kind::Secret, reference.name.clone()));
    }
    for secret in storage::needed(&context.cluster.spec.storage) {
        names.push((Kind::Secret, secret.name.to_owned()));
    }
    names.push((Kind::PodDisruptionBudget, context.names.base.clone()));
    names.sort();
    names.dedup();
    names
}

async fn get(
    client: &Client,
    context: &Context<'_>,
    kind: Kind,
    name: &str,
) -> Result<Option<Value>, OperatorError> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &context.names.namespace, &kind.resource());
    let what = format!("reading {} {name}", kind.word());
    let found = api.get_opt(name).await.map_err(OperatorError::api(what.clone()))?;
    found
        .map(serde_json::to_value)
        .transpose()
        .map_err(|error| OperatorError::Malformed { what, reason: error.to_string() })
}

async fn endpoints(
    client: &Client,
    context: &Context<'_>,
) -> Result<BTreeMap<String, Vec<String>>, OperatorError> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &context.names.namespace);
    let params = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", context.names.base));
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let slices = match api.list(&params).await {
        Ok(slices) => slices,
        Err(error) if status_code(&error) == Some(404) => return Ok(out),
        Err(error) => return Err(OperatorError::api("listing EndpointSlices")(error)),
    };
    for slice in slices {
        let labels = slice.metadata.labels.unwrap_or_default();
        let Some(service) = labels.get("kubernetes.io/service-name") else { continue };
        let entry = out.entry(service.clone()).or_default();
        for endpoint in slice.endpoints {
            let conditions = endpoint.conditions.unwrap_or_default();
            if conditions.ready == Some(true) && conditions.terminating != Some(true) {
                entry.extend(endpoint.addresses);
            }
        }
    }
    Ok(out)
}

async fn pods(client: &Client, context: &Context<'_>, seen: &Observed) -> Result<Vec<Pod>, OperatorError> {
    let api: Api<KubePod> = Api::namespaced(client.clone(), &context.names.namespace);
    let params = ListParams::default().labels(&format!("{LABEL_CLUSTER}={}", context.names.base));
    let list = api.list(&params).await.map_err(OperatorError::api("listing pods"))?;
    let set = seen.child(Kind::StatefulSet, &context.names.base).map(live::uid).unwrap_or_default();
    let mut pods: Vec<Pod> = list.iter().filter(|pod| is_owned(pod, set)).map(read).collect();
    pods.sort_by_key(Pod::ordinal);
    if let Some(access) = access(context, seen) {
        let answers = pods.iter().map(|pod| {
            // Who certainly cannot answer is not waited for.
            let ip = pod.ip.filter(|_| !pod.is_terminating && (pod.is_running || pod.ended.is_none()));
            let access = &access;
            async move {
                match ip {
                    Some(ip) => access.ask(ip).await,
                    None => Err(pod.waiting.clone().unwrap_or_else(|| NO_ANSWER_YET.to_owned())),
                }
            }
        });
        let answers = futures_util::future::join_all(answers).await;
        for (pod, answer) in pods.iter_mut().zip(answers) {
            pod.answer = answer;
        }
    }
    Ok(pods)
}

/// How the pods are reached; `None` while there is no CA to verify them by.
pub(crate) fn access(context: &Context<'_>, seen: &Observed) -> Option<Access> {
    match context.cluster.spec.tls.mode {
        TlsMode::Disabled => Some(Access { ca: None, server_name: None }),
        TlsMode::OperatorManaged => {
            let ca = live::secret_text(seen.secret(&context.names.ca())?, "tls.crt")?;
            Some(Access { ca: Some(ca), server_name: None })
        }
        // Nobody can ask a certificate authority for the address of a pod that does not exist yet.
        TlsMode::Secret => {
            let reference = context.cluster.spec.tls.secret_ref.as_ref()?;
            let ca = live::secret_text(seen.secret(&reference.name)?, "ca.crt")?;
            let name = format!("{}.{}.svc", context.names.base, context.names.namespace);
            Some(Access { ca: Some(ca), server_name: Some(name) })
        }
    }
}

fn is_owned(pod: &KubePod, set: &str) -> bool {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.kind == "StatefulSet" && owner.uid == set)
}

fn read(pod: &KubePod) -> Pod {
    let metadata = &pod.metadata;
    let status = pod.status.as_ref();
    let labels = metadata.labels.clone().unwrap_or_default();
    let condition = |kind: &str| {
        status.and_then(|s| s.conditions.as_ref()).and_then(|all| all.iter().find(|c| c.type_ == kind))
    };
    let container = status.and_then(|s| s.container_statuses.as_ref()).and_then(|all| all.first());
    let state = container.and_then(|c| c.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref()).map(|w| {
        let reason = w.reason.clone().unwrap_or_default();
        w.message.as_ref().map_or_else(|| reason.clone(), |message| format!("{reason}: {message}"))
    });
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let before = container.and_then(|c| c.last_state.as_ref()).and_then(|state| state.terminated.as_ref());
    let ended =
        [terminated, before].into_iter().flatten().filter_map(|t| millis(t.finished_at.as_ref()?.0)).max();
    let exit = terminated.map(|t| format!("its container has ended with exit code {}", t.exit_code));
    let unscheduled = condition("PodScheduled")
        .filter(|c| c.status == "False")
        .map(|c| format!("unschedulable: {}", c.message.clone().unwrap_or_default()));
    Pod {
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ip: status.and_then(|s| s.pod_ip.as_ref()).and_then(|ip| ip.parse().ok()),
        revision: labels.get("controller-revision-hash").cloned().unwrap_or_default(),
        labels,
        is_ready: condition("Ready").is_some_and(|c| c.status == "True"),
        is_terminating: metadata.deletion_timestamp.is_some(),
        waiting: waiting.or(exit).or(unscheduled),
        ended,
        is_running: state.is_some_and(|state| state.running.is_some()),
        answer: Err(NO_ANSWER_YET.to_owned()),
    }
}

fn millis(time: jiff::Timestamp) -> Option<UnixMillis> {
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pod that runs revision `r1`, is ready and has not been asked.
    pub(crate) fn pod(name: &str, uid: &str) -> Pod {
        Pod {
            name: name.to_owned(),
            uid: uid.to_owned(),
            node: Some("node".to_owned()),
            ip: Some("10.0.0.1".parse().unwrap()),
            labels: BTreeMap::new(),
            revision: "r1".to_owned(),
            is_ready: true,
            is_terminating: false,
            waiting: None,
            ended: None,
            is_running: true,
            answer: Err(NO_ANSWER_YET.to_owned()),
        }
    }

    /// What a healthy standby says.
    pub(crate) fn node() -> NodeStatus {
        NodeStatus {
            initialized: true,
            version: crate::api::VERSION.replace(env!("CARGO_PKG_VERSION"), "0.1.0"),
            cluster_id: Some("c-1".to_owned()),
            leader_address: "https://10.0.0.1:8200".to_owned(),
            ..NodeStatus::default()
        }
    }

    #[test]
    fn pods_are_read_as_the_kubelet_describes_them() {
        let pod: KubePod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "main-2", "uid": "u", "labels": {"controller-revision-hash": "r"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "main", "uid": "s"}]},
            "spec": {"nodeName": "n", "containers": []},
            "status": {"podIP": "fd00::1",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
        }))
        .unwrap();
        assert!(is_owned(&pod, "s") && !is_owned(&pod, "other"));
        let pod = read(&pod);
        assert_eq!((pod.ordinal(), pod.is_ready, pod.revision.as_str()), (2, false, "r"));
        assert_eq!(pod.ip, "fd00::1".parse().ok());
        assert_eq!(pod.waiting.as_deref(), Some("ImagePullBackOff: no such image"));
        assert_eq!((pod.is_running, pod.ended), (false, None));
    }

    #[test]
    fn the_last_end_of_a_container_is_read_from_either_place() {
        let end = |second: u32| serde_json::json!({"terminated": {"exitCode": 137, "finishedAt": format!("2026-01-02T03:04:{second:02}Z")}});
        let seen = |state: serde_json::Value, before: serde_json::Value| {
            let pod: KubePod = serde_json::from_value(serde_json::json!({"metadata": {"name": "main-0"}, "status": {
                "containerStatuses": [{"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                    "state": state, "lastState": before}]}}))
            .unwrap();
            read(&pod)
        };
        let second = |second: u64| Some(UnixMillis(1_767_323_040_000 + second * 1000));
        let pod = seen(end(7), end(5));
        assert_eq!((pod.is_running, pod.ended), (false, second(7)));
        assert_eq!(pod.waiting.as_deref(), Some("its container has ended with exit code 137"));
        let pod = seen(serde_json::json!({"running": {}}), end(5));
        assert_eq!((pod.is_running, pod.ended, pod.waiting), (true, second(5), None));
        let pod = seen(serde_json::json!({"running": {}}), serde_json::json!({}));
        assert_eq!(pod.ended, None);
    }
}
