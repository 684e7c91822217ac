//! Bad input for every rule of a `VaultCluster`.

use serde_json::{Value, json};

/// A specification that breaks one rule.
pub struct Case {
    /// The rule's id.
    pub rule: &'static str,
    /// The object's name.
    pub name: &'static str,
    /// What is there before, for rules about changes.
    pub former: Option<Value>,
    /// The bad specification.
    pub spec: Value,
}

fn case(rule: &'static str, spec: Value) -> Case {
    Case { rule, name: "v", former: None, spec }
}

fn change(rule: &'static str, former: Value, spec: Value) -> Case {
    Case { rule, name: "v", former: Some(former), spec }
}

fn etcd(section: Value) -> Value {
    json!({"storage": {"type": "Etcd", "etcd": section}})
}

/// All cases; every rule has at least one.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case { rule: "name", name: "9-lives", former: None, spec: json!({}) },
        Case { rule: "name", name: "a.b", former: None, spec: json!({}) },
        Case {
            rule: "name",
            name: "a-name-of-more-than-forty-characters-is-long",
            former: None,
            spec: json!({}),
        },
        Case { rule: "name", name: "ends-badly-", former: None, spec: json!({}) },
        case("replicas", json!({"replicas": 0})),
        case("replicas", json!({"replicas": 10})),
        case("shared-storage", json!({"profile": "Development", "storage": {"type": "Memory"}})),
        case("shared-storage", json!({"replicas": 2, "storage": {"type": "File"}})),
        case("memory-profile", json!({"replicas": 1, "storage": {"type": "Memory"}})),
        case("tls-profile", json!({"tls": {"mode": "Disabled"}})),
        case("hardened-unseal", json!({"profile": "Hardened"})),
        change(
            "hardened-stays",
            json!({"profile": "Hardened", "unseal": {"type": "Shamir"}}),
            json!({"profile": "Development", "unseal": {"type": "Shamir"}}),
        ),
        change("unseal-immutable", json!({}), json!({"unseal": {"type": "Shamir"}})),
        case("lease-duration", json!({"ha": {"leaseDurationSeconds": 2}})),
        case("lease-duration", json!({"ha": {"leaseDurationSeconds": 121}})),
        case("staleness", json!({"ha": {"maxStalenessSeconds": -1}})),
        case("staleness", json!({"ha": {"maxStalenessSeconds": 86_401}})),
        case("staleness-limit", json!({"ha": {"maxStalenessSeconds": 60, "stalenessLimitSeconds": 59}})),
        case("staleness-limit", json!({"ha": {"stalenessLimitSeconds": 86_401}})),
        case("tls-secret", json!({"tls": {"mode": "Secret"}})),
        case("tls-secret-unused", json!({"tls": {"secretRef": {"name": "mine"}}})),
        case("image-tag", json!({"image": {"tag": "latest"}})),
        case("image-repository", json!({"image": {"repository": "r:5000/holdfast:v1"}})),
        case("image-repository", json!({"image": {"repository": "holdfast@sha256:0"}})),
        case("resources", json!({"resources": {"limits": {"memory": "much"}}})),
        case("resources", json!({"resources": {"requests": {"cpu": "1 core"}}})),
    ];
    cases.extend(storage_cases());
    cases
}

fn storage_cases() -> Vec<Case> {
    let memory = json!({"profile": "Development", "replicas": 1, "storage": {"type": "Memory"}});
    vec![
        case("storage-section", json!({"storage": {"type": "Kubernetes", "etcd": {}}})),
        case("storage-section", json!({"storage": {"type": "Etcd", "kubernetes": {}}})),
        case("storage-section", json!({"storage": {"consul": {}}})),
        case("storage-section", json!({"storage": {"zooKeeper": {}}})),
        case("storage-section", json!({"storage": {"postgreSQL": {}}})),
        case("storage-section", json!({"storage": {"file": {}}})),
        case("storage-section", json!({"storage": {"memory": {}}})),
        change("storage-immutable", memory, json!({"profile": "Development", "replicas": 1})),
        case("storage-data-limit", json!({"storage": {"kubernetes": {"dataLimitBytes": 1000}}})),
        case("storage-data-limit", json!({"storage": {"kubernetes": {"dataLimitBytes": 300_000_000}}})),
        case("storage-budget-rate", json!({"storage": {"kubernetes": {"budgetBytesPerSecond": 1}}})),
        case("storage-budget-rate", json!({"storage": {"kubernetes": {"budgetBytesPerSecond": 16_777_217}}})),
        case("storage-address", json!({"storage": {"type": "Etcd"}})),
        case("storage-address", json!({"storage": {"type": "Consul", "consul": {"address": ""}}})),
        case("storage-address", json!({"storage": {"type": "ZooKeeper", "zooKeeper": {}}})),
        case("storage-address", json!({"storage": {"type": "PostgreSQL", "postgreSQL": {}}})),
        case(
            "storage-server-name",
            etcd(json!({"endpoints": ["https://e:2379"], "tlsServerName": "https://e"})),
        ),
        case("storage-server-name", etcd(json!({"endpoints": ["https://e:2379"], "tlsServerName": ""}))),
        case(
            "storage-server-name",
            json!({"storage": {"type": "Consul", "consul": {"address": "https://c:8501", "tlsServerName": "c:8501"}}}),
        ),
        case(
            "storage-server-name",
            json!({"storage": {"type": "ZooKeeper", "zooKeeper": {"servers": ["z:2281"], "caSecretRef": {"name": "a"}, "tlsServerName": "a..b"}}}),
        ),
        case(
            "storage-server-name",
            json!({"storage": {"type": "PostgreSQL", "postgreSQL": {"connectionSecretRef": {"name": "c"}, "tlsServerName": "a-.b"}}}),
        ),
        case(
            "storage-server-name-unused",
            etcd(json!({"endpoints": ["http://e:2379"], "tlsServerName": "e"})),
        ),
        case(
            "storage-server-name-unused",
            json!({"storage": {"type": "Consul", "consul": {"address": "c:8500", "tlsServerName": "c"}}}),
        ),
        case(
            "storage-server-name-unused",
            json!({"storage": {"type": "ZooKeeper", "zooKeeper": {"servers": ["z:2181"], "tlsServerName": "z"}}}),
        ),
        change(
            "file-volume",
            json!({"replicas": 1, "storage": {"type": "File"}}),
            json!({"replicas": 1, "storage": {"type": "File", "file": {"size": "2Gi"}}}),
        ),
        case("file-size", json!({"replicas": 1, "storage": {"type": "File", "file": {"size": "big"}}})),
    ]
}

/// Specifications that must be accepted.
pub fn good() -> Vec<Value> {
    vec![
        json!({}),
        json!({"replicas": 9, "resources": {"requests": {"cpu": "100m", "memory": "0.5Gi"}, "limits": {"cpu": 1}}}),
        json!({"image": {"repository": "r:5000/holdfast", "tag": "v1", "pullPolicy": "Always", "pullSecrets": ["s"]}}),
        json!({"profile": "Hardened", "unseal": {"type": "Shamir"}}),
        json!({"profile": "Development", "replicas": 1, "storage": {"type": "Memory", "memory": {}}, "tls": {"mode": "Disabled"}}),
        json!({"tls": {"mode": "Secret", "secretRef": {"name": "mine"}}}),
        json!({"storage": {"type": "Kubernetes", "kubernetes": {"dataLimitBytes": 1_048_576, "budgetBytesPerSecond": 4096}}}),
        json!({"storage": {"type": "PostgreSQL", "postgreSQL": {"connectionSecretRef": {"name": "db"}, "tlsServerName": "fd00::1"}}}),
        json!({"storage": {"type": "Etcd", "etcd": {"endpoints": ["https://etcd:2379"], "path": "/v/", "credentialsSecretRef": {"name": "c"}, "tlsSecretRef": {"name": "t"}, "caSecretRef": {"name": "a"}, "tlsServerName": "etcd.example"}}}),
        json!({"storage": {"type": "Consul", "consul": {"address": "https://consul:8501", "credentialsSecretRef": {"name": "c"}, "tlsServerName": "server.dc1.consul"}}}),
        json!({"storage": {"type": "ZooKeeper", "zooKeeper": {"servers": ["zk:2281"]}}}),
        json!({"storage": {"type": "ZooKeeper", "zooKeeper": {"servers": ["zk:2281"], "caSecretRef": {"name": "a"}, "tlsServerName": "zk"}}}),
        json!({"replicas": 1, "storage": {"type": "File", "file": {"size": "2Gi", "storageClassName": "fast"}}}),
        json!({"haStorage": {"type": "Kubernetes"}, "service": {"type": "LoadBalancer", "annotations": {"a": "b"}}}),
        json!({"scheduling": {"spread": "Required", "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}}),
        json!({"ha": {"stalenessLimitSeconds": 600, "standbyReads": false}}),
        json!({"deletion": {"policy": "Delete"}, "paused": true, "ha": {"leaseDurationSeconds": 120, "maxStalenessSeconds": 60}}),
    ]
}
