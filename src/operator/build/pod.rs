//! The pod template.

use serde_json::{Value, json};

use super::Context;
use super::config;
use super::meta::{labels, selector};
use super::storage;
use crate::crd::cluster::{Image, Spread, TlsMode, UnsealType};
use crate::k8s::words::{
    ENV_POD_IP, ENV_POD_NAME, ENV_POD_NAMESPACE, ENV_POD_UID, PORT_API, PORT_CLUSTER, PORT_PROBE,
};
use crate::operator::names::{CONFIG_FILE, CONFIG_FOLDER, TLS_FOLDER, UNSEAL_FILE, UNSEAL_FOLDER};

/// The user that the image runs as; named in numbers so that the kubelet can tell that it is not root.
const USER: u32 = 65_532;
/// Time for a handover, for requests in flight and for connections to drain.
pub(crate) const GRACE_SECONDS: u32 = 60;
/// Where Kubernetes' clients look for their credentials.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The template of the pods.
pub(crate) fn template(context: &Context<'_>) -> Value {
    json!({
        "metadata": {"labels": labels(context)},
        "spec": spec(context),
    })
}

fn spec(context: &Context<'_>) -> Value {
    let cluster = &context.cluster.spec;
    let mut spec = json!({
        "serviceAccountName": context.names.base,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(context)],
        "volumes": volumes(context),
    });
    let secrets = cluster.image.as_ref().map(|i| i.pull_secrets.clone()).unwrap_or_default();
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = secrets.iter().map(|name| json!({"name": name})).collect();
    }
    let scheduling = &cluster.scheduling;
    match scheduling.spread {
        Spread::Preferred => {
            spec["topologySpreadConstraints"] = json!([
                spread(context, "kubernetes.io/hostname", "ScheduleAnyway"),
                spread(context, "topology.kubernetes.io/zone", "ScheduleAnyway"),
            ]);
            let term = json!({"weight": 100, "podAffinityTerm": apart(context)});
            spec["affinity"] =
                json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}});
        }
        Spread::Required => {
            spec["topologySpreadConstraints"] =
                json!([spread(context, "topology.kubernetes.io/zone", "ScheduleAnyway")]);
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [apart(context)]});
            spec["affinity"] = json!({"podAntiAffinity": required});
        }
        Spread::None => {}
    }
    if !scheduling.node_selector.is_empty() {
        spec["nodeSelector"] = json!(scheduling.node_selector);
    }
    if !scheduling.tolerations.is_empty() {
        spec["tolerations"] = json!(scheduling.tolerations);
    }
    if let Some(class) = &scheduling.priority_class_name {
        spec["priorityClassName"] = json!(class);
    }
    spec
}

fn spread(context: &Context<'_>, key: &str, otherwise: &str) -> Value {
    json!({
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": otherwise,
        "labelSelector": {"matchLabels": selector(context)},
    })
}

fn apart(context: &Context<'_>) -> Value {
    json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector(context)}})
}

/// The image that the pods of `context` run.
pub(crate) fn image(context: &Context<'_>) -> String {
    let own = &context.settings.image;
    let Some(Image { repository, tag, .. }) = &context.cluster.spec.image else { return own.clone() };
    if repository.is_none() && tag.is_none() {
        return own.clone();
    }
    let last = own.rfind('/').map_or(0, |slash| slash + 1);
    let (own_repository, own_tag) = match (own.find('@'), own[last..].find(':')) {
        (Some(at), _) => (&own[..at], None),
        (None, Some(colon)) => (&own[..last + colon], Some(&own[last + colon + 1..])),
        (None, None) => (own.as_str(), None),
    };
    let repository = repository.as_deref().unwrap_or(own_repository);
    match tag.as_deref().or(own_tag) {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    }
}

fn container(context: &Context<'_>) -> Value {
    let cluster = &context.cluster.spec;
    let pull = cluster.image.as_ref().and_then(|i| i.pull_policy).unwrap_or(context.settings.pull_policy);
    let has_tls = cluster.tls.mode != TlsMode::Disabled;
    let mut mounts = vec![mount("config", CONFIG_FOLDER), mount("token", TOKEN_FOLDER)];
    let mut env = vec![
        field(ENV_POD_IP, "status.podIP"),
        field(ENV_POD_NAME, "metadata.name"),
        field(ENV_POD_UID, "metadata.uid"),
        field(ENV_POD_NAMESPACE, "metadata.namespace"),
    ];
    // For commands run in the pod; the server does not read them.
    let scheme = if has_tls { "https" } else { "http" };
    env.push(json!({"name": "VAULT_ADDR", "value": format!("{scheme}://localhost:{PORT_API}")}));
    if has_tls {
        mounts.push(mount("tls", TLS_FOLDER));
        env.push(json!({"name": "VAULT_CACERT", "value": format!("{TLS_FOLDER}/ca.crt")}));
    }
    if cluster.unseal.kind == UnsealType::Static {
        mounts.push(mount("unseal", UNSEAL_FOLDER));
    }
    mounts.extend(storage::volumes(context).into_iter().map(|(_, mount)| mount));
    mounts.extend(storage::data_mount(context));
    let mut container = json!({
        "name": "server",
        "image": image(context),
        "imagePullPolicy": pull.word(),
        "args": ["server", format!("-config={CONFIG_FOLDER}/{CONFIG_FILE}")],
        "env": env,
        "ports": [
            {"name": "api", "containerPort": PORT_API, "protocol": "TCP"},
            {"name": "cluster", "containerPort": PORT_CLUSTER, "protocol": "TCP"},
            {"name": "probe", "containerPort": PORT_PROBE, "protocol": "TCP"},
        ],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        // A restart cures neither seal nor storage nor a starved node: be slow to kill.
        "startupProbe": probe("/livez", 1, 5, 120),
        "livenessProbe": probe("/livez", 10, 10, 12),
        "readinessProbe": probe("/readyz", 2, 5, 2),
    });
    if let Some(resources) = &cluster.resources {
        container["resources"] = json!(resources);
    }
    container
}

fn probe(path: &str, period: u32, timeout: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": "probe"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    })
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

fn mount(volume: &str, path: &str) -> Value {
    json!({"name": volume, "mountPath": path, "readOnly": true})
}

fn volumes(context: &Context<'_>) -> Value {
    let cluster = &context.cluster.spec;
    let secret = |volume: &str, name: &str| json!({"name": volume, "secret": {"secretName": name, "defaultMode": 0o440}});
    let mut volumes = vec![secret("config", &config::name(context)), token()];
    match (cluster.tls.mode, &cluster.tls.secret_ref) {
        (TlsMode::OperatorManaged, _) => volumes.push(secret("tls", &context.names.issuer())),
        (TlsMode::Secret, Some(reference)) => volumes.push(secret("tls", &reference.name)),
        _ => {}
    }
    if cluster.unseal.kind == UnsealType::Static {
        let name = context.names.unseal_key();
        volumes.push(json!({"name": "unseal", "secret": {
            "secretName": name,
            "defaultMode": 0o440,
            "items": [{"key": UNSEAL_FILE, "path": UNSEAL_FILE}],
        }}));
    }
    volumes.extend(storage::volumes(context).into_iter().map(|(volume, _)| volume));
    json!(volumes)
}

/// What automounting would give, in a form that only the container that asks for it gets.
fn token() -> Value {
    json!({"name": "token", "projected": {"defaultMode": 0o440, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}})
}
