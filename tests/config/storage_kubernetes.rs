//! `storage "kubernetes"`: what its settings mean, and what a person reads when they are wrong.

use std::path::PathBuf;

use holdfast::config::{
    self, Environment, HaStorageConfig, KubernetesLock, KubernetesStorage, StorageConfig,
};

use crate::{TCP, read};

/// Settings that are wrong, each with at least one problem.
const WRONG: &[&str] = &[
    "namespace = \"-x\"",
    "namespace = \"\"",
    "namespace = [\"a\"]",
    "name = \"Vault\"",
    "name = \"a.b\"",
    "name = \"0123456789012345678901234567890123456789012345678901234567890123\"",
    "kubeconfig = [1]",
    "data_limit_bytes = 1000",
    "data_limit_bytes = \"64MiB\"",
    "budget_bytes_per_second = 4095",
    "budget_bytes_per_second = 1073741825",
    "budget_window_seconds = 0",
    "budget_window_seconds = 86401",
    "budget_window_seconds = \"1m\"",
    "nmae = \"vault\"",
    "path = \"vault/\"",
    "name = \"vault\"\nname = \"other\"",
];

#[test]
fn every_error_says_what_to_do() {
    let mut shown = String::new();
    for text in WRONG {
        let problems = read(&format!("storage \"kubernetes\" {{\n{text}\n}}\n{TCP}")).expect_err(text);
        shown.push_str(&format!("--- {}\n{problems}\n\n", text.replace('\n', "\n    ")));
    }
    for text in ["name = \"Vault\"", "namespace = \"a_b\"", "data_limit_bytes = 67108864"] {
        let text = format!("ha_storage \"kubernetes\" {{ {text} }}");
        let problems = read(&format!("storage \"etcd\" {{}}\n{TCP}{text}")).expect_err(&text);
        shown.push_str(&format!("--- {text}\n{problems}\n\n"));
    }
    insta::assert_snapshot!("kubernetes_errors", shown);
}

#[test]
fn blocks_mean_what_they_say() {
    let environment = Environment::fixed([("POD_NAMESPACE", "pods")]);
    let read = |text: &str| config::parse(&[("a.hcl", &format!("{text}\n{TCP}"))], &environment).unwrap();
    let lock =
        KubernetesLock { namespace: Some("pods".to_owned()), name: "holdfast".to_owned(), kubeconfig: None };
    let plain = read("storage \"kubernetes\" {}");
    assert_eq!(plain.storage, StorageConfig::Kubernetes(KubernetesStorage::at(lock.clone())));
    let full = read(
        "storage \"kubernetes\" { namespace = \"ns\" name = \"vault\" kubeconfig = \"/k\" data_limit_bytes = 1048576
         budget_bytes_per_second = 4096 budget_window_seconds = 86400 }
         ha_storage \"kubernetes\" { name = \"lock\" }",
    );
    let storage = KubernetesStorage {
        lock: KubernetesLock {
            namespace: Some("ns".to_owned()),
            name: "vault".to_owned(),
            kubeconfig: Some(PathBuf::from("/k")),
        },
        data_limit_bytes: 1 << 20,
        budget_bytes_per_second: 4096,
        budget_window_seconds: 86_400,
    };
    assert_eq!(full.storage, StorageConfig::Kubernetes(storage));
    let lock = KubernetesLock { name: "lock".to_owned(), ..lock };
    assert_eq!(full.ha_storage, Some(HaStorageConfig::Kubernetes(lock)));
}
