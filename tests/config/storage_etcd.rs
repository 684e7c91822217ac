//! `storage "etcd"` and `ha_storage "etcd"`.

use std::path::PathBuf;
use std::time::Duration;

use holdfast::config::{ClientTls, Credential, EtcdStorage, HaStorageConfig, StorageConfig};

use super::{TCP, read};

#[test]
fn every_error_says_what_to_do() {
    let blocks = [
        "address = \"etcd-0:2379\"",
        "address = \"http://a:2379, https://b:2379/v3\"",
        "address = [1]",
        "address = \"\"",
        "discovery_srv = \"example.com\"",
        "adress = \"http://a\"",
        "path = \"/\"",
        "path = \"\"",
        "etcd_api = \"v2\"",
        "username = \"u\"",
        "password = \"hunter2\"",
        "username = \"u\" password = \"env://NO_SUCH_PASSWORD\"",
        "tls_ca_file = \"/ca\"",
        "address = \"https://a\" tls_cert_file = \"/c\"",
        "address = \"https://a\" tls_key_file = \"/k\"",
        "address = \"https://a\" tls_skip_verify = true",
        "request_timeout = \"1ms\"",
        "ha_enabled = \"perhaps\"",
        "token = \"t\"",
        // Consul's.
        "session_ttl = \"15s\"",
    ];
    let mut texts: Vec<String> =
        blocks.iter().map(|block| format!("storage \"etcd\" {{ {block} }}\n{TCP}")).collect();
    texts.push(format!("ha_storage \"etcd\" {{ ha_enabled = false }}\nstorage \"shelf\" {{}}\n{TCP}"));
    let mut shown = String::new();
    for text in texts {
        let problems = match read(&text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(problems) => problems.to_string(),
        };
        assert!(!problems.contains("hunter2"), "{problems}");
        shown.push_str(&format!("--- {}\n{problems}\n\n", text.lines().next().unwrap_or_default()));
    }
    insta::assert_snapshot!("etcd_errors", shown);
}

#[test]
fn everything_can_be_said() {
    let text = format!(
        r#"storage "etcd" {{
          address = "https://etcd-0:2379/, https://etcd-1:2379"
          path = "team/vault"
          etcd_api = "v3"
          ha_enabled = "true"
          username = "holdfast"
          password = "file:///run/password"
          tls_ca_file = "/tls/ca.crt"
          tls_cert_file = "/tls/tls.crt"
          tls_key_file = "/tls/tls.key"
          request_timeout = "3s"
          sync = true
          lock_timeout = "15s"
        }}
        ha_storage "etcd" {{ address = ["http://[::1]:2379"] sync = "yes" }}
        {TCP}"#
    );
    let config = read(&text).unwrap();
    let expected = EtcdStorage {
        addresses: vec!["https://etcd-0:2379".to_owned(), "https://etcd-1:2379".to_owned()],
        path: "/team/vault/".to_owned(),
        username: Some(Credential::Text("holdfast".into())),
        password: Some(Credential::File(PathBuf::from("/run/password"))),
        tls: ClientTls {
            ca_file: Some("/tls/ca.crt".into()),
            cert_file: Some("/tls/tls.crt".into()),
            key_file: Some("/tls/tls.key".into()),
            server_name: None,
        },
        request_timeout: Duration::from_secs(3),
    };
    assert_eq!(config.storage, StorageConfig::Etcd(expected));
    assert!(config.ha_enabled);
    let Some(HaStorageConfig::Etcd(lock)) = config.ha_storage else { panic!("no lock") };
    assert_eq!(lock.addresses, ["http://[::1]:2379"]);
    assert_eq!(
        config.warnings,
        [
            "holdfast.hcl:12:11: sync is ignored: the members are those that address names",
            "holdfast.hcl:13:11: lock_timeout is ignored: the lock is judged by lease_duration of ha",
            "holdfast.hcl:15:61: sync is ignored: the members are those that address names",
        ]
    );
}

#[test]
fn little_needs_to_be_said() {
    let config = read(&format!("storage \"etcd\" {{}}\n{TCP}")).unwrap();
    let StorageConfig::Etcd(storage) = config.storage else { panic!("{:?}", config.storage) };
    assert_eq!(storage.addresses, ["http://127.0.0.1:2379"]);
    assert_eq!(storage.path, "/vault/");
    assert_eq!(storage.request_timeout, Duration::from_secs(5));
    assert_eq!((storage.username, storage.password, storage.tls), (None, None, ClientTls::default()));
}
