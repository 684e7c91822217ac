//! The four Services.

use serde_json::{Value, json};

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields, selector};
use crate::k8s::words::{LABEL_ACTIVE, LABEL_STANDBY, PORT_API, PORT_CLUSTER};

/// `<name>`: every pod that can serve or forward.
pub(crate) fn main(context: &Context<'_>) -> Child {
    let settings = &context.cluster.spec.service;
    let spec = json!({
        "type": settings.kind.word(),
        "selector": selector(context),
        "ports": [api()],
        "publishNotReadyAddresses": false,
    });
    let mut main = service(context, &context.names.base, spec);
    if !settings.annotations.is_empty() {
        main.value["metadata"]["annotations"] = json!(settings.annotations);
    }
    main
}

/// `<name>-active`: the active pod.
pub(crate) fn active(context: &Context<'_>) -> Child {
    role(context, &context.names.active(), LABEL_ACTIVE)
}

/// `<name>-standby`: the others.
pub(crate) fn standby(context: &Context<'_>) -> Child {
    role(context, &context.names.standby(), LABEL_STANDBY)
}

/// `<name>-internal`: headless, with sealed and starting pods, for names of pods.
pub(crate) fn internal(context: &Context<'_>) -> Child {
    let spec = json!({
        "type": "ClusterIP",
        "clusterIP": "None",
        "selector": selector(context),
        "ports": [
            api(),
            {"name": "cluster", "port": PORT_CLUSTER, "targetPort": "cluster", "protocol": "TCP"},
        ],
        "publishNotReadyAddresses": true,
    });
    service(context, &context.names.internal(), spec)
}

fn role(context: &Context<'_>, name: &str, label: &str) -> Child {
    let mut selector = selector(context);
    selector[label] = json!("true");
    let spec = json!({
        "type": "ClusterIP",
        "selector": selector,
        "ports": [api()],
        "publishNotReadyAddresses": false,
    });
    service(context, name, spec)
}

fn service(context: &Context<'_>, name: &str, spec: Value) -> Child {
    child(context, Kind::Service, name, Ownership::Owned, fields(json!({"spec": spec})))
}

fn api() -> Value {
    json!({"name": "api", "port": PORT_API, "targetPort": "api", "protocol": "TCP"})
}
