//! The server's configuration, in an immutable Secret whose name holds its hash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields};
use super::storage;
use crate::crd::cluster::{TlsMode, UnsealType};
use crate::k8s::words::{PORT_API, PORT_CLUSTER, PORT_PROBE};
use crate::operator::names::{CONFIG_FILE, TLS_FOLDER, UNSEAL_FILE, UNSEAL_FOLDER, UNSEAL_KEY_ID};

/// The Secret.
pub(crate) fn config(context: &Context<'_>) -> Child {
    let content = content(context);
    let body = json!({
        "type": "Opaque",
        "immutable": true,
        "data": {CONFIG_FILE: STANDARD.encode(&content)},
    });
    child(context, Kind::Secret, &context.names.config(&content), Ownership::Owned, fields(body))
}

/// Name of the Secret.
pub(crate) fn name(context: &Context<'_>) -> String {
    context.names.config(&content(context))
}

/// The configuration as JSON.
pub(crate) fn content(context: &Context<'_>) -> String {
    let spec = &context.cluster.spec;
    let mut config = Map::new();
    config.insert("cluster_name".to_owned(), json!(context.names.base));
    config.insert("storage".to_owned(), storage::settings(context));
    if spec.storage.kind.is_shared() {
        config.insert("ha_storage".to_owned(), json!({"kubernetes": place(context)}));
    }
    config.insert("listener".to_owned(), json!({"tcp": listener(context)}));
    if spec.unseal.kind == UnsealType::Static {
        let key = json!({
            "current_key_id": UNSEAL_KEY_ID,
            "current_key": format!("file://{UNSEAL_FOLDER}/{UNSEAL_FILE}"),
        });
        config.insert("seal".to_owned(), json!({"static": key}));
    }
    let mut ha = json!({
        "lease_duration": format!("{}s", spec.ha.lease_duration_seconds),
        "max_staleness": format!("{}s", spec.ha.max_staleness_seconds),
    });
    if let Some(limit) = spec.ha.staleness_limit_seconds {
        ha["staleness_limit"] = json!(format!("{limit}s"));
    }
    config.insert("ha".to_owned(), ha);
    if !spec.ha.standby_reads {
        config.insert("disable_standby_reads".to_owned(), json!(true));
    }
    config.insert("telemetry".to_owned(), json!({"probe_address": any(context, PORT_PROBE)}));
    config.insert("log_format".to_owned(), json!("json"));
    Value::Object(config).to_string()
}

fn place(context: &Context<'_>) -> Value {
    json!({"namespace": context.names.namespace, "name": context.names.base})
}

fn listener(context: &Context<'_>) -> Value {
    let mut listener = json!({
        "address": any(context, PORT_API),
        "cluster_address": any(context, PORT_CLUSTER),
    });
    match context.cluster.spec.tls.mode {
        TlsMode::OperatorManaged => {
            listener["tls_issuer_dir"] = json!(TLS_FOLDER);
            listener["tls_issuer_dns_names"] =
                json!(context.names.service_dns_names(&context.settings.cluster_domain));
        }
        TlsMode::Secret => {
            listener["tls_cert_file"] = json!(format!("{TLS_FOLDER}/tls.crt"));
            listener["tls_key_file"] = json!(format!("{TLS_FOLDER}/tls.key"));
        }
        TlsMode::Disabled => listener["tls_disable"] = json!(true),
    }
    listener
}

fn any(context: &Context<'_>, port: u16) -> String {
    if context.settings.is_ipv6 { format!("[::]:{port}") } else { format!("0.0.0.0:{port}") }
}
