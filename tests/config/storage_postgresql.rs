//! What a person reads when `storage "postgresql"` is wrong, and what a good one means.

use std::time::Duration;

use holdfast::config::{
    self, ClientTls, Credential, Environment, HaStorageConfig, PostgresqlStorage, Problems, ServerConfig,
    StorageConfig,
};

const TCP: &str = "listener \"tcp\" { tls_disable = true }\n";

fn read(text: &str, variables: &[(&'static str, &'static str)]) -> Result<ServerConfig, Problems> {
    let environment = Environment::fixed(variables.iter().copied());
    config::parse(&[("holdfast.hcl", &format!("{text}\n{TCP}"))], &environment)
}

fn block(text: &str) -> String {
    format!("storage \"postgresql\" {{\n{text}\n}}")
}

#[test]
fn every_error_says_what_to_do() {
    let url = |url: &str| format!("connection_url = \"{url}\"");
    let good = url("postgres://u@h/d");
    let local = url("postgres://u@localhost/d?sslmode=disable");
    let texts = [
        String::new(),
        "connection_url = [1]".to_owned(),
        url("env://NOT_SET"),
        url("host=h user=u password=hunter2"),
        url("postgres://h/d"),
        url("postgres://u:hunter2@/d"),
        url("postgres://u:hunter2@h:port/d"),
        url("postgres://u:hunter2%@h/d"),
        url("postgres://u@%2Ftmp/d"),
        url("postgres://u:hunter2@h/d?application_name=x"),
        url("postgres://u:hunter2@h/d?sslmode=verify-full&sslmode=verify-full"),
        url("postgres://u:hunter2@h/d?sslmode=disable"),
        url("postgres://u:hunter2@h/d?sslmode=prefer"),
        url("postgres://u:hunter2@h/d?sslmode=require"),
        url("postgres://u:hunter2@h/d?sslmode=verify-ca"),
        url("postgres://u:hunter2@h/d?sslmode=on"),
        url("postgres://u:hunter2@h/d?target_session_attrs=any"),
        url("postgres://u:hunter2@h/d?channel_binding=maybe"),
        url("postgres://u:hunter2@h/d?connect_timeout=0"),
        url("postgres://u:hunter2@h/d?sslcert=%2Fc"),
        format!("{}\npassword = \"hunter2\"", url("postgres://u:hunter2@h/d")),
        format!("{}\ntls_ca_file = \"/c\"", url("postgres://u@h/d?sslrootcert=%2Fca")),
        format!(
            "{}\ntls_cert_file = \"/c\"\ntls_key_file = \"/k\"",
            url("postgres://u@h/d?sslcert=%2Fc&sslkey=%2Fk")
        ),
        format!("{good}\ntls_cert_file = \"/c\""),
        format!("{good}\ntls_key_file = \"/k\""),
        format!("{local}\ntls_ca_file = \"/c\""),
        format!("{local}\ntls_cert_file = \"/c\"\ntls_key_file = \"/k\""),
        format!("{local}\ntls_server_name = \"db\""),
        url("postgres://u@localhost/d?sslmode=disable&sslrootcert=%2Fca"),
        format!("{good}\npassword = \"env://NOT_SET\""),
        format!("{good}\nha_enabled = \"perhaps\""),
        format!("{good}\ntls_skip_verify = true"),
        format!("{good}\ntable = \"Vault Store\""),
        format!("{good}\nha_table = \"a.b.c\""),
        format!("{good}\nskip_create_table = \"perhaps\""),
        format!("{good}\nrequest_timeout = \"0s\""),
        format!("{good}\nmax_conections = 5"),
    ];
    let mut shown = String::new();
    for text in texts {
        let problems = match read(&block(&text), &[]) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(problems) => problems.to_string(),
        };
        assert!(!problems.contains("hunter2"), "{problems}");
        shown.push_str(&format!("--- {}\n{problems}\n\n", text.replace('\n', "\n    ")));
    }
    for (value, text) in [
        ("hunter2", good.clone()),
        ("postgres://u:hunter2@h/d", format!("{good}\npassword = \"x\"")),
        ("postgres://u@h/d?sslkey=%2Fk", good.clone()),
    ] {
        let problems = read(&block(&text), &[("VAULT_PG_CONNECTION_URL", value)]).unwrap_err().to_string();
        assert!(!problems.contains("hunter2"), "{problems}");
        let value = value.replace("hunter2", "...");
        shown.push_str(&format!(
            "--- VAULT_PG_CONNECTION_URL={value}\n    {}\n{problems}\n\n",
            text.replace('\n', "\n    ")
        ));
    }
    insta::assert_snapshot!("postgresql_errors", shown);
}

#[test]
fn everything_is_read() {
    let text = block(
        r#"connection_url = "postgres://u@a:1,b:2/d?sslmode=verify-full"
           password = "file:///run/password"
           table = "vault.kv"
           ha_table = "vault.lock"
           skip_create_table = "true"
           request_timeout = "3s"
           tls_ca_file = "/ca"
           tls_server_name = "db"
           max_parallel = "128"
           max_idle_connections = 3
           max_connect_retries = 1
           ha_enabled = "true""#,
    );
    let config = read(&text, &[]).unwrap();
    let expected = PostgresqlStorage {
        password: Some(Credential::File("/run/password".into())),
        table: "vault.kv".to_owned(),
        ha_table: Some("vault.lock".to_owned()),
        skip_create_table: true,
        request_timeout: Duration::from_secs(3),
        tls: ClientTls {
            ca_file: Some("/ca".into()),
            server_name: Some("db".to_owned()),
            ..ClientTls::default()
        },
        ..PostgresqlStorage::at(Credential::Text("postgres://u@a:1,b:2/d?sslmode=verify-full".into()))
    };
    assert_eq!(config.storage, StorageConfig::Postgresql(expected));
    assert!(config.ha_enabled);
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
    assert!(config.warnings[1].contains("max_idle_connections is ignored: "), "{:?}", config.warnings);
}

#[test]
fn the_environment_wins() {
    let text = block("connection_url = \"postgres://u@file/d\"");
    let storage = |variables: &[(&'static str, &'static str)]| match read(&text, variables).unwrap().storage {
        StorageConfig::Postgresql(storage) => storage.connection_url,
        other => panic!("{other:?}"),
    };
    assert_eq!(storage(&[]), Some(Credential::Text("postgres://u@file/d".into())));
    let name = "VAULT_PG_CONNECTION_URL";
    assert_eq!(storage(&[(name, "postgres://u@env/d")]), Some(Credential::Text("postgres://u@env/d".into())));
    assert_eq!(storage(&[(name, "file:///url")]), Some(Credential::File("/url".into())));
}

#[test]
fn the_lock_takes_the_same_settings() {
    let text = "storage \"shelf\" {}\nha_storage \"postgresql\" {\nconnection_url = \"postgres://u@h/d\"\nmax_parallel = 1\n}";
    let config = read(text, &[]).unwrap();
    assert!(
        matches!(&config.ha_storage, Some(HaStorageConfig::Postgresql(lock)) if lock.table == "holdfast")
    );
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}
