//! `storage "kubernetes"` and `ha_storage "kubernetes"`.

use std::path::PathBuf;

use crate::config::parse::Context;
use crate::config::section::Section;

/// `storage "kubernetes"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesStorage {
    /// Where head, segments and Lease lie, and how to reach them.
    pub lock: KubernetesLock,
    /// Most bytes of data.
    pub data_limit_bytes: u64,
    /// Bytes a second, heads and segments, that may be written to the API server in the long run.
    pub budget_bytes_per_second: u64,
    /// Seconds of it that a burst may use at once.
    pub budget_window_seconds: u64,
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
        Self {
            lock,
            data_limit_bytes: 64 << 20,
            budget_bytes_per_second: 256 << 10,
            budget_window_seconds: 60,
        }
    }
}

/// Reads `storage "kubernetes" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> KubernetesStorage {
    let mut storage = KubernetesStorage::at(lock(section, context));
    section.number("data_limit_bytes", 1 << 20..=1 << 40, &mut storage.data_limit_bytes);
    section.number("budget_bytes_per_second", 4096..=1 << 30, &mut storage.budget_bytes_per_second);
    section.number("budget_window_seconds", 1..=86_400, &mut storage.budget_window_seconds);
    storage
}

/// Reads `ha_storage "kubernetes" { … }`.
pub(super) fn lock(section: &mut Section<'_>, context: &Context<'_>) -> KubernetesLock {
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
