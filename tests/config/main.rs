//! What a person reads when a configuration is wrong, and what a good one means.
#![allow(clippy::unwrap_used)]

mod storage_file;
mod storage_postgresql;
mod storage_zookeeper;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use holdfast::config::{
    self, Environment, HaStorageConfig, KeySource, KubernetesLock, KubernetesStorage, ListenerTls, LogFormat,
    LogLevel, Problem, Problems, SealConfig, ServerConfig, StaticKey, StorageConfig, env,
};

mod storage_consul;
mod storage_etcd;
mod storage_kubernetes;

const TCP: &str = "listener \"tcp\" { tls_disable = true }\n";
const STORED: &str = "storage \"inmem\" {}\n";

fn read(text: &str) -> Result<ServerConfig, Problems> {
    config::parse(&[("holdfast.hcl", text)], &Environment::fixed([]))
}

/// A configuration with everything needed and `text`.
fn with(text: &str) -> Result<ServerConfig, Problems> {
    read(&format!("{STORED}{TCP}{text}"))
}

fn listener(text: &str) -> String {
    format!("{STORED}listener \"tcp\" {{\n{text}\n}}")
}

/// Texts that are wrong, each with at least one problem.
fn wrong_texts() -> Vec<String> {
    let top = [
        "lisener \"tcp\" {}",
        "quux = 1",
        "api_adr = \"https://x\"",
        "api_addr = [1]",
        "api_addr = \"10.0.0.1:8200\"",
        "api_addr = \"https://10.0.0.1:8200/v1\"",
        "api_addr = \"https://a\"\nredirect_addr = \"https://b\"",
        "cluster_addr = \"8201\"",
        "cluster_name = \"\"",
        "disable_clustering = \"perhaps\"",
        "log_level = \"loud\"",
        "log_format = \"xml\"",
        "log_level = \"info\"\nlog_level = \"warn\"",
        "default_lease_ttl = \"2000h\"",
        "max_lease_ttl = \"soon\"",
        "backend \"inmem\" {}",
        "storage \"kubernetes\" {}",
        "ha_storage { name = \"x\" }",
        "ha_storage \"kubernetes\" {}\nha_backend \"kubernetes\" {}",
        "ha_storage \"kubernetes\" { name = \"Not_A_Label\" }",
        "ha \"x\" {}",
        "ha { lease_duration = \"1s\" }",
        "ha { read_lease = \"2s\" }",
        "ha { max_stalenes = \"1s\" }",
        "ha { max_staleness = \"5s\" staleness_limit = \"1s\" }",
        "ha { adopt = \"me\" }",
        "ha { accept_rollback = \"true\" }",
        "telemetry { probe_address = \"everywhere\" }",
        "listener \"unix\" { address = \"/run/x\" }",
        TCP,
        "seal \"clockwork\" {}",
        "seal \"static\" {}",
        "seal \"static\" { current_key_id = \"1\" }",
        "seal \"static\" { current_key = \"file:///k\" }",
        "seal \"static\" { current_key_id = \"1\" current_key = \"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDEyMzQ=\" }",
        "seal \"static\" { current_key_id = \"1\" current_key = \"env://A\" previous_key_id = \"1\" previous_key = \"env://B\" }",
    ];
    let listeners = [
        "",
        "tls_disable = true\naddress = \"example.com:8200\"",
        "tls_disable = true\naddress = \"127.0.0.1:8200\"\ncluster_address = \"127.0.0.1:8200\"",
        "tls_disable = true\ntls_cert_file = \"/c\"",
        "tls_cert_file = \"/c\"",
        "tls_key_file = \"/k\"",
        "tls_issuer_dir = \"/i\"\ntls_cert_file = \"/c\"\ntls_key_file = \"/k\"",
        "tls_issuer_dir = \"/i\"\ntls_issuer_dns_names = [1]",
        "tls_disable = true\ntls_min_version = \"ssl3\"",
        "tls_disable = true\ntls_require_and_verify_client_cert = true",
        "tls_disable = true\nmax_request_size = -1",
        "tls_disable = true\nhttp_read_timeout = \"0s\"",
    ];
    let mut texts: Vec<String> = top.iter().map(|text| format!("{text}\n{STORED}{TCP}")).collect();
    texts.extend(listeners.iter().map(|text| listener(text)));
    texts.extend(
        ["ha_storage \"kubernetes\" {}", "ha_backend \"inmem\" {}"]
            .map(|lock| format!("{STORED}{TCP}{lock}")),
    );
    texts.extend(["ha_storage \"file\" { path = \"/data\" }", "ha_backend \"inmem\" {}"].map(|lock| {
        format!("storage \"kubernetes\" {{ name = \"vault\" namespace = \"vault\" }}\n{TCP}{lock}")
    }));
    texts.push(String::new());
    texts.push("storage \"kubernetes\" {\n".to_owned());
    texts.push(format!("{TCP}storage = \"inmem\""));
    texts.push(format!("{TCP}storage \"kubernetes\" {{ data_limit_bytes = 5 namespace = \"-x\" }}"));
    texts
}

/// Problems that no text alone makes.
fn other_problems() -> Vec<Problems> {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::fixed([
        ("VAULT_API_ADDR", "10.0.0.1"),
        ("VAULT_LOG_LEVEL", "loud"),
        ("SHORT_KEY", "secret"),
    ]);
    let load = |path: PathBuf| config::load(&[path], &environment).unwrap_err();
    let key = |source| StaticKey { id: "1".to_owned(), source }.load(&environment).unwrap_err().into();
    vec![
        load(PathBuf::from("/nowhere/holdfast.hcl")),
        load(folder.path().to_owned()),
        config::parse(&[("a.hcl", &format!("{STORED}{TCP}"))], &environment).unwrap_err(),
        ServerConfig::development(Some("here"), None, &environment).unwrap_err().into(),
        key(KeySource::File(PathBuf::from("/nowhere/key"))),
        key(KeySource::Environment("NO_SUCH_KEY".to_owned())),
        key(KeySource::Environment("SHORT_KEY".to_owned())),
    ]
    .into_iter()
    .map(|problems| mask(problems, &folder.path().display().to_string()))
    .collect()
}

/// Replaces the name of the temporary folder, which differs in every run.
fn mask(problems: Problems, folder: &str) -> Problems {
    Problems(
        problems
            .0
            .into_iter()
            .map(|problem| match problem {
                Problem::NoFiles { path } => Problem::NoFiles { path: path.replace(folder, "/folder") },
                other => other,
            })
            .collect(),
    )
}

#[test]
fn every_error_says_what_to_do() {
    let mut shown = String::new();
    let mut seen = BTreeSet::new();
    let mut note = |problems: &Problems| {
        for problem in &problems.0 {
            let name = format!("{problem:?}");
            seen.insert(name.split([' ', '(', '{']).next().unwrap_or_default().to_owned());
        }
    };
    for text in wrong_texts() {
        let problems = match read(&text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(problems) => problems,
        };
        note(&problems);
        shown.push_str(&format!(
            "--- {}\n{problems}\n\n",
            text.trim().replace("\n\n", "\n").replace('\n', "\n    ")
        ));
    }
    for problems in other_problems() {
        note(&problems);
        shown.push_str(&format!("---\n{problems}\n\n"));
    }
    insta::assert_snapshot!("configuration_errors", shown);
    assert_eq!(seen, variants(), "every kind of problem needs a bad input here");
}

/// The variants of `Problem`, read from its source so that none can be forgotten.
fn variants() -> BTreeSet<String> {
    let source = include_str!("../../src/config/problem.rs");
    let body = source.split("pub enum Problem {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    body.lines()
        .filter(|line| {
            line.starts_with("    ")
                && line.trim_start().starts_with(char::is_uppercase)
                && !line.starts_with("     ")
        })
        .map(|line| line.trim().trim_end_matches([' ', '{', ',']).to_owned())
        .collect()
}

#[test]
fn the_parser_of_variants_sees_them() {
    let variants = variants();
    assert!(
        variants.contains("Unreadable") && variants.contains("KeyMalformed") && variants.len() > 12,
        "{variants:?}"
    );
}

#[test]
fn a_key_in_the_clear_is_not_repeated_in_the_message() {
    let text = "seal \"static\" { current_key_id = \"1\" current_key = \"hunter2\" }";
    let shown = with(text).unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_full_configuration_is_read() {
    let text = r#"
        storage "kubernetes" { name = "vault" data_limit_bytes = "134217728" kubeconfig = "/k" }
        ha_storage "kubernetes" { namespace = "locks" name = "vault" }
        listener "tcp" {
          address = ":8200"
          tls_issuer_dir = "/tls"
          tls_issuer_dns_names = ["vault", "vault-active"]
          max_request_size = 1048576
          disable_unauthed_rekey_endpoints = true
        }
        listener "tcp" { address = "[::1]:9000" cluster_address = "localhost:9005" tls_disable = "1" }
        seal "static" {
          current_key_id = "2", current_key = "file:///keys/2"
          previous_key_id = "1", previous_key = "env://OLD_KEY"
        }
        telemetry { probe_address = "0.0.0.0" prometheus_retention_time = "30s" }
        ha { lease_duration = 9 read_lease = "0" max_staleness = "5s" }
        advertise_addr = "https://10.1.2.3:8200/"
        log_level = "debug"
        log_format = "standard"
        ui = true
    "#;
    let environment =
        Environment::fixed([("POD_NAMESPACE", "apps"), ("VAULT_LOG_FORMAT", "json"), ("POD_IP", "10.9.9.9")]);
    let config = config::parse(&[("a.hcl", text)], &environment).unwrap();
    let place = KubernetesLock {
        namespace: Some("apps".into()),
        name: "vault".into(),
        kubeconfig: Some("/k".into()),
    };
    let storage = KubernetesStorage { data_limit_bytes: 128 << 20, ..KubernetesStorage::at(place) };
    assert_eq!(config.storage, StorageConfig::Kubernetes(storage));
    assert!(
        matches!(&config.ha_storage, Some(HaStorageConfig::Kubernetes(lock)) if lock.namespace.as_deref() == Some("locks"))
    );
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:8200");
    assert_eq!(config.listeners[0].cluster_address.to_string(), "0.0.0.0:8201");
    assert_eq!(config.listeners[0].max_request_size_bytes, 1 << 20);
    assert!(
        config.listeners[0].disable_unauthed_rekey && !config.listeners[0].disable_unauthed_generate_root
    );
    assert!(
        matches!(&config.listeners[0].tls, ListenerTls::Issuer { dns_names, .. } if dns_names.len() == 2)
    );
    assert_eq!(config.listeners[1].address.to_string(), "[::1]:9000");
    assert_eq!(config.listeners[1].cluster_address.to_string(), "127.0.0.1:9005");
    assert_eq!(config.listeners[1].tls, ListenerTls::Disabled);
    let SealConfig::Static(seal) = &config.seal else { panic!("{:?}", config.seal) };
    assert_eq!(seal.current.source, KeySource::File("/keys/2".into()));
    assert_eq!(seal.previous.as_ref().unwrap().source, KeySource::Environment("OLD_KEY".into()));
    assert_eq!(config.telemetry.probe_address.unwrap().to_string(), "0.0.0.0:8202");
    assert_eq!(config.ha.lease_duration, Duration::from_secs(9));
    assert_eq!(config.ha.read_lease, Duration::ZERO);
    assert_eq!(config.api_addr.as_deref(), Some("https://10.1.2.3:8200"));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(config.pod.ip.as_deref(), Some("10.9.9.9"));
    assert_eq!(
        config.warnings,
        [
            "a.hcl:16:47: prometheus_retention_time is ignored: metrics are never dropped",
            "a.hcl:21:9: ui is ignored: there is no user interface",
        ]
    );
}

#[test]
fn json_means_the_same() {
    let hcl = r#"storage "inmem" {} listener "tcp" { address = "127.0.0.1:1" tls_disable = true } listener "tcp" { address = "127.0.0.1:3" tls_disable = true }"#;
    let json = r#"{"storage": {"inmem": {}}, "listener": [{"tcp": {"address": "127.0.0.1:1", "tls_disable": true}}, {"tcp": {"address": "127.0.0.1:3", "tls_disable": 1}}]}"#;
    assert_eq!(read(hcl).unwrap().listeners, read(json).unwrap().listeners);
    assert_eq!(read(json).unwrap().listeners.len(), 2);
}

#[test]
fn unknown_storage_types_keep_their_settings_for_the_table_of_backends() {
    let config = read(&format!(
        "{TCP}storage \"shelf\" {{ height = 3 tls {{ ca = \"/c\" }} hosts = [\"a\", \"b\"] }}"
    ))
    .unwrap();
    let StorageConfig::Other { kind, settings } = config.storage else { panic!("not kept") };
    assert_eq!(kind, "shelf");
    let settings: Vec<_> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(settings, ["height=3", "hosts=a,b", "tls.ca=/c"]);
}

#[test]
fn a_folder_is_read_in_order_and_later_files_win() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("10-base.hcl", &format!("{STORED}{TCP}log_level = \"warn\"\nseal \"shamir\" {{}}"));
    write(
        "20-more.json",
        r#"{"log_level": "debug", "seal": {"static": {"current_key_id": "1", "current_key": "env://K"}}}"#,
    );
    write("notes.txt", "not = a configuration {");
    let config = config::load(&[folder.path().to_owned()], &Environment::fixed([])).unwrap();
    assert_eq!(config.log.level, LogLevel::Debug);
    assert!(matches!(config.seal, SealConfig::Static(_)));
    assert_eq!(config.listeners.len(), 1);
}

#[test]
fn addresses_of_the_environment_have_an_order() {
    let config = |variables: &[(&'static str, &'static str)]| {
        let environment = Environment::fixed(variables.iter().copied());
        config::parse(&[("a", &format!("{STORED}{TCP}"))], &environment).unwrap().addresses
    };
    let all = [
        ("VAULT_ADVERTISE_ADDR", "https://c"),
        ("VAULT_REDIRECT_ADDR", "https://b"),
        ("VAULT_API_ADDR", "https://a"),
    ];
    assert_eq!(config(&all).api_addr(), Some(("https://a", "VAULT_API_ADDR")));
    assert_eq!(config(&all[..2]).api_addr(), Some(("https://b", "VAULT_REDIRECT_ADDR")));
    assert_eq!(config(&all[..1]).api_addr(), Some(("https://c", "VAULT_ADVERTISE_ADDR")));
    assert_eq!(config(&[]).api_addr(), None);
}

#[test]
fn static_keys_are_read_raw_in_hexadecimal_and_in_base64() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [b'k'; 32];
    for (name, content) in [
        ("raw", bytes.to_vec()),
        ("hex", b"6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b\n".to_vec()),
        ("base64", b"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n".to_vec()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let key = StaticKey { id: "1".into(), source: KeySource::File(path) };
        assert_eq!(key.load(&Environment::fixed([])).unwrap().expose(), bytes, "{name}");
    }
}

#[test]
fn every_ignored_key_warns_and_none_is_known() {
    let stored = |kind: &str, key: &str| {
        let needed = match kind {
            "etcd" => "address = \"http://a:2379\"",
            "postgresql" => "connection_url = \"postgres://u@h/d\"",
            "file" => "path = \"/data\"",
            _ => "",
        };
        read(&format!("{TCP}storage \"{kind}\" {{\n{needed}\n{key} = 1\n}}"))
    };
    const STORAGES: [&str; 7] = ["kubernetes", "etcd", "consul", "zookeeper", "postgresql", "file", "inmem"];
    for ignored in config::IGNORED {
        let key = ignored.key;
        let warn = |config: Result<ServerConfig, Problems>| {
            let config = config.unwrap_or_else(|e| panic!("{key}: {e}"));
            assert_eq!(config.warnings.len(), 1, "{key}");
            assert!(config.warnings[0].contains(ignored.reason), "{}", config.warnings[0]);
        };
        match ignored.block {
            "" => warn(read(&format!("{STORED}{TCP}{key} = 1"))),
            "listener" => warn(read(&listener(&format!("tls_disable = true\n{key} = 1")))),
            "storage" => {
                for kind in STORAGES {
                    if ignored.types.is_empty() || ignored.types.contains(&kind) {
                        warn(stored(kind, key));
                    } else {
                        let problems = stored(kind, key).expect_err(kind).to_string();
                        assert!(problems.contains(&format!("unknown key \"{key}\"")), "{kind}: {problems}");
                    }
                }
                assert!(ignored.types.iter().all(|kind| STORAGES.contains(kind)), "{:?}", ignored.types);
            }
            block => warn(read(&format!("{STORED}{TCP}{block} {{ {key} = 1 }}"))),
        }
    }
}

#[test]
fn the_documentation_lists_every_variable() {
    let documentation = include_str!("../../docs/configuration.md");
    assert!(
        documentation.contains(&env::markdown()),
        "replace the table in docs/configuration.md by:\n{}",
        env::markdown()
    );
}
