//! `storage "consul"`: what a person reads when it is wrong, and what a good one means.
#![allow(clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use holdfast::config::{
    self, ClientTls, ConsulStorage, Credential, Environment, HaStorageConfig, StorageConfig,
};

use crate::{TCP, read};

/// Blocks that are wrong, each with at least one problem.
const WRONG: &[&str] = &[
    "address = \"\"",
    "address = [1]",
    "address = \"unix:///run/consul.sock\"",
    "address = \"http://user:hunter2@127.0.0.1:8500\"",
    "address = \"127.0.0.1:8500,127.0.0.1:99999\"",
    "address = \"http://127.0.0.1:8500/v1\"",
    "scheme = \"ftp\"",
    "path = \"\"",
    "path = \"a//b\"",
    "path = \"../vault\"",
    "token = \"env://NO_SUCH_TOKEN\"",
    "tls_ca_file = \"/ca.pem\"",
    "tls_server_name = \"consul\"\naddress = \"http://127.0.0.1:8500\"",
    "scheme = \"https\"\ntls_cert_file = \"/c.pem\"",
    "scheme = \"https\"\ntls_key_file = \"/c.key\"",
    "scheme = \"https\"\ntls_skip_verify = true",
    "consistency_mode = \"stale\"",
    "request_timeout = \"1h\"",
    "ha_enabled = \"perhaps\"",
    "adress = \"127.0.0.1:8500\"",
];

#[test]
fn every_error_says_what_to_do() {
    let mut shown = String::new();
    for text in WRONG {
        let problems = match read(&format!("storage \"consul\" {{\n{text}\n}}\n{TCP}")) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(problems) => problems,
        };
        shown.push_str(&format!("--- {}\n{problems}\n\n", text.replace('\n', "\n    ")));
    }
    for address in ["unix:///run/consul.sock", "http://user:hunter2@127.0.0.1:8500"] {
        let environment = Environment::fixed([("CONSUL_HTTP_ADDR", address)]);
        let text = format!("storage \"consul\" {{}}\n{TCP}");
        let problems = config::parse(&[("holdfast.hcl", &text)], &environment).unwrap_err();
        shown.push_str(&format!("--- CONSUL_HTTP_ADDR={address}\n{problems}\n\n"));
    }
    insta::assert_snapshot!("consul_errors", shown);
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    let text = format!("storage \"consul\" {{ address = \"http://user:hunter2@127.0.0.1:8500\" }}\n{TCP}");
    let shown = read(&text).unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn consul(text: &str, environment: &Environment) -> (ConsulStorage, Vec<String>) {
    let text = format!("storage \"consul\" {{\n{text}\n}}\n{TCP}");
    let config = config::parse(&[("a.hcl", &text)], environment).unwrap();
    let StorageConfig::Consul(storage) = config.storage else { panic!("{:?}", config.storage) };
    (storage, config.warnings)
}

#[test]
fn a_block_without_keys_is_the_agent_of_this_host() {
    let (storage, warnings) = consul("", &Environment::fixed([]));
    let expected = ConsulStorage {
        addresses: vec!["http://127.0.0.1:8500".to_owned()],
        path: "vault/".to_owned(),
        token: None,
        tls: ClientTls::default(),
        request_timeout: Duration::from_secs(5),
    };
    assert_eq!((storage, warnings), (expected, vec![]));
}

#[test]
fn the_environment_fills_in_what_the_block_leaves_out() {
    let environment =
        Environment::fixed([("CONSUL_HTTP_ADDR", "consul.example:8500"), ("CONSUL_HTTP_TOKEN", "t0")]);
    let (storage, _) = consul("", &environment);
    assert_eq!(storage.addresses, ["http://consul.example:8500"]);
    assert_eq!(storage.token, Some(Credential::Text("t0".into())));
    let (storage, _) = consul("address = \"127.0.0.1:1\"\ntoken = \"t1\"", &environment);
    assert_eq!(storage.addresses, ["http://127.0.0.1:1"]);
    assert_eq!(storage.token, Some(Credential::Text("t1".into())));
}

#[test]
fn a_block_of_vault_is_understood() {
    let text = r#"
        address = "a.example,b.example:8443,http://c.example"
        scheme = "https"
        path = "/apps/vault"
        token = "file:///run/token"
        tls_ca_file = "/tls/ca.pem"
        tls_cert_file = "/tls/c.pem"
        tls_key_file = "/tls/c.key"
        tls_min_version = "tls12"
        consistency_mode = "default"
        disable_registration = "true"
        service = "vault"
        session_ttl = "15s"
        lock_wait_time = "15s"
        max_parallel = "128"
        request_timeout = "2s"
        ha_enabled = "true"
    "#;
    let (storage, warnings) = consul(text, &Environment::fixed([]));
    assert_eq!(
        storage.addresses,
        ["https://a.example:8501", "https://b.example:8443", "http://c.example:8500"]
    );
    assert_eq!(storage.path, "apps/vault/");
    assert_eq!(storage.token, Some(Credential::File(PathBuf::from("/run/token"))));
    assert_eq!(storage.tls.key_file, Some(PathBuf::from("/tls/c.key")));
    assert_eq!(storage.request_timeout, Duration::from_secs(2));
    assert_eq!(warnings.len(), 7, "{warnings:#?}");
    assert!(
        warnings[0].ends_with("consistency_mode is ignored: every read is consistent (strong)"),
        "{warnings:#?}"
    );
}

#[test]
fn a_lock_is_read_like_a_storage() {
    let text = format!(
        "storage \"shelf\" {{}}\nha_storage \"consul\" {{ path = \"locks\" session_ttl = \"15s\" }}\n{TCP}"
    );
    let config = read(&text).unwrap();
    let Some(HaStorageConfig::Consul(lock)) = config.ha_storage else { panic!("{:?}", config.ha_storage) };
    assert_eq!(lock.path, "locks/");
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}
