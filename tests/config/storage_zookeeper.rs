//! `storage "zookeeper"`: what it means, and what a person reads when it is wrong.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use holdfast::config::{
    ClientTls, Credential, Environment, HaStorageConfig, StorageConfig, ZookeeperStorage, parse,
};

use super::TCP;

fn read(text: &str) -> Result<holdfast::config::ServerConfig, holdfast::config::Problems> {
    let environment = Environment::fixed([("ZK_AUTH", "digest:holdfast:s3cret"), ("NO_SECRET", "digest")]);
    parse(&[("holdfast.hcl", &format!("{TCP}{text}"))], &environment)
}

fn storage(lines: &str) -> ZookeeperStorage {
    match read(&format!("storage \"zookeeper\" {{\n{lines}\n}}")).unwrap().storage {
        StorageConfig::Zookeeper(storage) => storage,
        other => panic!("{other:?}"),
    }
}

fn shown(storage: &ZookeeperStorage) -> Vec<String> {
    storage.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_vaults() {
    let storage = storage("");
    assert_eq!(shown(&storage), ["localhost:2181"]);
    assert_eq!(storage.path, "/vault");
    assert_eq!(storage.request_timeout, Duration::from_secs(5));
    assert_eq!((storage.auth_info, storage.znode_owner, storage.tls), (None, None, None));
}

#[test]
fn everything_can_be_set() {
    let storage = storage(
        "address = \"zk-0:2281, [fd00::1]:2281,zk-2\"\npath = \"secrets/team a/\"\nauth_info = \"env://ZK_AUTH\"\n\
         znode_owner = \"x509:CN=holdfast,O=x\"\ntls_enabled = \"true\"\ntls_ca_file = \"/ca\"\ntls_cert_file = \"/c\"\n\
         tls_key_file = \"/k\"\ntls_server_name = \"zk\"\nrequest_timeout = \"2s\"",
    );
    assert_eq!(shown(&storage), ["zk-0:2281", "[fd00::1]:2281", "zk-2:2181"]);
    assert_eq!(storage.path, "/secrets/team a");
    assert_eq!(storage.auth_info, Some(Credential::Text("digest:holdfast:s3cret".into())));
    assert_eq!(storage.znode_owner.as_deref(), Some("x509:CN=holdfast,O=x"));
    let tls = ClientTls {
        ca_file: Some(PathBuf::from("/ca")),
        cert_file: Some(PathBuf::from("/c")),
        key_file: Some(PathBuf::from("/k")),
        server_name: Some("zk".to_owned()),
    };
    assert_eq!(storage.tls, Some(tls));
    assert_eq!(storage.request_timeout, Duration::from_secs(2));
}

#[test]
fn the_lock_alone_has_the_same_settings() {
    let text = "storage \"shelf\" {}\nha_storage \"zookeeper\" { address = [\"a:1\", \"b:2\"] tls_min_version = \"tls12\" }";
    let config = read(text).unwrap();
    let Some(HaStorageConfig::Zookeeper(lock)) = config.ha_storage else { panic!("no lock") };
    assert_eq!(shown(&lock), ["a:1", "b:2"]);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn every_error_says_what_to_do() {
    let many = format!("address = \"{}\"", ["z"; 65].join(","));
    let cases = [
        "adress = \"zk:2181\"",
        "address = \"\"",
        "address = []",
        &many,
        "address = \"https://zk:2181\"",
        "address = \"zk:2181/vault\"",
        "address = \"zk:0\"",
        "address = 7\npath = \"/\"",
        "path = \"/a//b\"",
        "path = \"/zookeeper/quota\"",
        "auth_info = \"digest\"",
        "auth_info = \"env://NO_SECRET\"",
        "auth_info = \"env://NOT_SET\"",
        "znode_owner = \"holdfast\"",
        "tls_ca_file = \"/ca\"",
        "tls_enabled = true\ntls_cert_file = \"/c\"",
        "tls_enabled = true\ntls_key_file = \"/k\"",
        "tls_enabled = true\ntls_skip_verify = true",
        "tls_enabled = \"perhaps\"",
        "request_timeout = \"1h\"",
        "ha_enabled = \"perhaps\"",
    ];
    let mut shown = String::new();
    for case in cases {
        let Err(problems) = read(&format!("storage \"zookeeper\" {{\n{case}\n}}")) else {
            panic!("accepted: {case}")
        };
        writeln!(shown, "{case}\n  => {problems}\n").unwrap();
    }
    assert!(!shown.contains("s3cret"));
    insta::assert_snapshot!(shown);
}
