//! `storage` and `ha_storage`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::hcl::Value;
use super::parse::Context;
use super::section::Section;

/// Settings of a type that this crate does not know; its factory checks them. Scalars are kept as text.
pub type Settings = BTreeMap<String, String>;

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageConfig {
    /// `kubernetes`: objects of the API server.
    Kubernetes(KubernetesStorage),
    /// `inmem`: in this process alone; nothing survives it.
    Inmem,
    /// Any other type; the table of backends knows it or refuses it.
    Other {
        /// The type.
        kind: String,
        /// Its settings.
        settings: Settings,
    },
}

/// `storage "kubernetes"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesStorage {
    /// Where head, segments and Lease lie, and how to reach them.
    pub lock: KubernetesLock,
    /// Most bytes of data.
    pub data_limit_bytes: u64,
    /// Bytes a second that heads may cost the API server in the long run.
    pub head_bytes_per_second: u64,
    /// Over how long that is averaged: what was saved up may be spent in a burst.
    pub head_window_seconds: u64,
}

/// A Lease, and for the storage also the head of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesLock {
    /// The namespace: of the file, else `POD_NAMESPACE`, else (`None`) that of the service account or kubeconfig.
    pub namespace: Option<String>,
    /// Name of Lease and head.
    pub name: String,
    /// How to reach the API server from outside; `None`: by the pod's service account.
    pub kubeconfig: Option<PathBuf>,
}

impl KubernetesStorage {
    /// Everything but the place at its default.
    pub fn at(lock: KubernetesLock) -> Self {
        Self { lock, data_limit_bytes: 64 << 20, head_bytes_per_second: 256 << 10, head_window_seconds: 60 }
    }
}

impl StorageConfig {
    /// The type, as `storage "…"` names it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Inmem => "inmem",
            Self::Other { kind, .. } => kind,
        }
    }
}

/// A lock apart from the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HaStorageConfig {
    /// `kubernetes`: a Lease.
    Kubernetes(KubernetesLock),
    /// Any other type; the table of backends knows it or refuses it.
    Other {
        /// The type.
        kind: String,
        /// Its settings.
        settings: Settings,
    },
}

impl HaStorageConfig {
    /// The type, as `ha_storage "…"` names it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Other { kind, .. } => kind,
        }
    }
}

/// Reads `storage "kind" { … }`.
pub(super) fn storage(kind: &str, section: &mut Section<'_>, context: &Context) -> StorageConfig {
    match kind {
        "kubernetes" => {
            let mut storage = KubernetesStorage::at(lock(section, context));
            section.number("data_limit_bytes", 1 << 20..=1 << 40, &mut storage.data_limit_bytes);
            section.number("head_bytes_per_second", 4096..=1 << 30, &mut storage.head_bytes_per_second);
            section.number("head_window_seconds", 1..=86_400, &mut storage.head_window_seconds);
            StorageConfig::Kubernetes(storage)
        }
        "inmem" => StorageConfig::Inmem,
        other => StorageConfig::Other { kind: other.to_owned(), settings: settings(section) },
    }
}

/// Reads `ha_storage "kind" { … }`.
pub(super) fn ha_storage(kind: &str, section: &mut Section<'_>, context: &Context) -> HaStorageConfig {
    match kind {
        "kubernetes" => HaStorageConfig::Kubernetes(lock(section, context)),
        other => HaStorageConfig::Other { kind: other.to_owned(), settings: settings(section) },
    }
}

fn lock(section: &mut Section<'_>, context: &Context) -> KubernetesLock {
    let namespace =
        section.text_where("namespace", is_dns_label, "a namespace: lower-case letters, digits and -");
    let name =
        section.text_where("name", is_dns_label, "a name: lower-case letters, digits and -, at most 63");
    KubernetesLock {
        namespace: namespace.or_else(|| context.pod_namespace.clone()),
        name: name.unwrap_or_else(|| "holdfast".to_owned()),
        kubeconfig: section.text("kubeconfig").map(PathBuf::from),
    }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|c| inner(*c) || *c == b'-')
        && bytes.first().copied().is_some_and(inner)
        && bytes.last().copied().is_some_and(inner)
}

fn settings(section: &mut Section<'_>) -> Settings {
    let mut out = Settings::new();
    for item in section.take_all() {
        flatten(item.key.clone(), &item.value, &mut out);
    }
    out
}

/// Adds a value as text: members of a block as `key.member`, elements of a list with commas between them.
fn flatten(key: String, value: &Value, out: &mut Settings) {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::List(values) => values.iter().filter_map(Value::as_text).collect::<Vec<_>>().join(","),
        Value::Block(body) => {
            return body
                .items
                .iter()
                .for_each(|item| flatten(format!("{key}.{}", item.key), &item.value, out));
        }
    };
    out.insert(key, text);
}
