//! What a person reads when the database cannot be used.

use std::path::PathBuf;

use holdfast::config::{ClientTls, Credential, PostgresqlStorage};
use holdfast::vault::physical::postgresql::{open, open_lock};
use holdfast::vault::physical::{Backend, StorageError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::world::{opened, own_server, until};
use crate::server_postgresql::{CERTIFICATE_ROLE, DATABASE, PASSWORD_ESCAPED, Postgresql, ROLE};

/// What is shown, with everything masked that differs from run to run.
struct Shown {
    text: String,
    server: Postgresql,
}

impl Shown {
    async fn add(&mut self, what: &str, config: PostgresqlStorage) {
        let reason = match open(&config).await {
            Ok(_) => panic!("{what}: it can be used"),
            Err(reason) => reason,
        };
        self.note(what, &reason.to_string());
    }

    fn note(&mut self, what: &str, reason: &str) {
        for secret in ["p@ss", PASSWORD_ESCAPED, "hunter2"] {
            assert!(!reason.contains(secret), "{what}: {reason}");
        }
        let folder = self.server.file("").display().to_string();
        let reason = reason.replace(&self.server.port.to_string(), "PORT").replace(&folder, "FOLDER/");
        self.text.push_str(&format!("--- {what}\n{reason}\n\n"));
    }

    fn url(&self, login: &str, rest: &str) -> String {
        format!("postgres://{login}@127.0.0.1:{}/{rest}", self.server.port)
    }

    fn tls(&self, ca: &str) -> ClientTls {
        ClientTls { ca_file: Some(self.server.file(ca)), ..ClientTls::default() }
    }
}

fn at(url: &str) -> PostgresqlStorage {
    PostgresqlStorage::at(Credential::Text(url.into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_says_what_to_do() {
    let mut shown = Shown { text: String::new(), server: own_server().await };
    log_in(&mut shown).await;
    certificates(&mut shown).await;
    files(&mut shown).await;
    tables(&mut shown).await;
    settings(&mut shown).await;
    services(&mut shown).await;
    speakers(&mut shown).await;
    insta::assert_snapshot!("unusable", shown.text);
}

async fn log_in(shown: &mut Shown) {
    let plain = "vault?sslmode=disable";
    for (what, login, rest) in [
        ("a wrong password", "holdfast:hunter2", plain),
        ("no password", "holdfast", plain),
        ("a role that pg_hba.conf refuses", "nobody:x", plain),
        ("a database that is not there", &format!("{ROLE}:{PASSWORD_ESCAPED}"), "nothing?sslmode=disable"),
        (
            "channel binding without TLS",
            &format!("{ROLE}:{PASSWORD_ESCAPED}"),
            "vault?sslmode=disable&channel_binding=require",
        ),
    ] {
        let url = shown.url(login, rest);
        shown.add(what, at(&url)).await;
    }
}

async fn certificates(shown: &mut Shown) {
    let url = shown.url(&format!("{ROLE}:{PASSWORD_ESCAPED}"), DATABASE);
    let tls = shown.tls("other.pem");
    shown.add("another CA", PostgresqlStorage { tls, ..at(&url) }).await;
    let tls = ClientTls { server_name: Some("db.example.com".to_owned()), ..shown.tls("ca.pem") };
    shown.add("another name", PostgresqlStorage { tls, ..at(&url) }).await;
    let tls = ClientTls { server_name: Some("not a name".to_owned()), ..shown.tls("ca.pem") };
    shown.add("no name", PostgresqlStorage { tls, ..at(&url) }).await;
    // Every resolver takes this for 127.0.0.1.
    let nameless = url.replace("127.0.0.1", "127.1");
    let tls = shown.tls("ca.pem");
    shown.add("a host that is no name", PostgresqlStorage { tls, ..at(&nameless) }).await;
    let url = shown.url(CERTIFICATE_ROLE, DATABASE);
    let tls = shown.tls("ca.pem");
    shown.add("no certificate where one is asked for", PostgresqlStorage { tls, ..at(&url) }).await;
    let tls = ClientTls {
        cert_file: Some(shown.server.file("other.pem")),
        key_file: Some(shown.server.file("other.key")),
        ..shown.tls("ca.pem")
    };
    shown.add("a certificate that the server does not trust", PostgresqlStorage { tls, ..at(&url) }).await;
}

async fn files(shown: &mut Shown) {
    let url = shown.url(&format!("{ROLE}:{PASSWORD_ESCAPED}"), DATABASE);
    let tls = shown.tls("nowhere.pem");
    shown.add("no CA file", PostgresqlStorage { tls, ..at(&url) }).await;
    let tls = shown.tls("server.key");
    shown.add("a CA file that is none", PostgresqlStorage { tls, ..at(&url) }).await;
    let password = Some(Credential::File(shown.server.file("nowhere")));
    let url = shown.url(ROLE, "vault?sslmode=disable");
    shown.add("no password file", PostgresqlStorage { password, ..at(&url) }).await;
    let path: PathBuf = shown.server.file("url");
    std::fs::write(&path, "mysql://hunter2@db").expect("a file");
    let connection_url = Some(Credential::File(path));
    shown.add("a URL in a file that is none", PostgresqlStorage { connection_url, ..at("") }).await;
    urls_in_files(shown).await;
}

/// What holds for a URL beside other settings holds for one in a file as well.
async fn urls_in_files(shown: &mut Shown) {
    let path = shown.server.file("url");
    let plain = "postgres://u@127.0.0.1/d?sslmode=disable";
    let password = Some(Credential::Text("hunter2".into()));
    let tls = |name: &str| ClientTls { ca_file: Some(PathBuf::from(name)), ..ClientTls::default() };
    let in_file = PostgresqlStorage { connection_url: Some(Credential::File(path.clone())), ..at("") };
    for (what, url, config) in [
        (
            "a password beside the file",
            "postgres://u:hunter2@h/d",
            PostgresqlStorage { password, ..in_file.clone() },
        ),
        ("sslcert alone in the file", "postgres://u@h/d?sslcert=%2Fc", in_file.clone()),
        (
            "a CA beside the file and in it",
            "postgres://u@h/d?sslrootcert=%2Fca",
            PostgresqlStorage { tls: tls("/c"), ..in_file.clone() },
        ),
        ("a CA without TLS", plain, PostgresqlStorage { tls: tls("/c"), ..in_file.clone() }),
    ] {
        std::fs::write(&path, url).expect("a file");
        shown.add(what, config).await;
    }
    std::fs::write(&path, shown.server.url()).expect("a file");
    let moved = PostgresqlStorage { table: "moved".to_owned(), ..in_file };
    let backend = opened(&moved).await;
    std::fs::write(&path, shown.server.url().replace("/vault?", "/other?")).expect("a file");
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'holdfast %'";
    shown.server.sql("postgres", &[end]);
    until("it is refused", async || matches!(backend.check().await, Err(StorageError::Denied { .. }))).await;
    let checked = backend.check().await;
    let Err(StorageError::Denied { reason, .. }) = checked else { panic!("{checked:?}") };
    shown.note("another database later on", &reason);
}

async fn tables(shown: &mut Shown) {
    let guest = shown.url("guest:guest", "vault?sslmode=disable");
    shown.add("no right to make tables", at(&guest)).await;
    let table = "vault.store".to_owned();
    shown.add("no schema", PostgresqlStorage { table, ..at(&guest) }).await;
    let own = shown.server.url();
    shown.add("skip_create_table", PostgresqlStorage { skip_create_table: true, ..at(&own) }).await;
    let reason = match open_lock(&at(&guest)).await {
        Ok(_) => panic!("it can be used"),
        Err(reason) => reason.to_string(),
    };
    shown.note("no right to make the table of the lock alone", &reason);
    open(&at(&own)).await.unwrap_or_else(|reason| panic!("{reason}"));
    shown.add("no right to use the tables", at(&guest)).await;
    let grant = "GRANT ALL ON holdfast_head, holdfast_kv, holdfast_journal, holdfast_lock TO guest";
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC";
    shown.server.sql(DATABASE, &[grant, revoke]);
    shown.add("no right to check", at(&guest)).await;
    shown
        .server
        .sql(DATABASE, &["GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO PUBLIC"]);
    open(&at(&guest))
        .await
        .unwrap_or_else(|reason| panic!("the rights that are asked for are enough: {reason}"));
    shown.server.sql(DATABASE, &["ALTER TABLE holdfast_kv SET UNLOGGED"]);
    shown.add("a table that a crash empties", at(&own)).await;
    shown.server.sql(DATABASE, &["ALTER TABLE holdfast_kv SET LOGGED"]);
    let foreign = "CREATE TABLE vault_ha_locks (ha_key text PRIMARY KEY, valid_until timestamptz)";
    shown.server.sql(DATABASE, &[foreign, "GRANT ALL ON vault_ha_locks TO holdfast"]);
    let ha_table = Some("vault_ha_locks".to_owned());
    shown.add("a table of something else", PostgresqlStorage { ha_table, ..at(&own) }).await;
}

async fn settings(shown: &mut Shown) {
    let own = shown.server.url();
    shown.server.sql("postgres", &["REVOKE CONNECT ON DATABASE vault FROM PUBLIC"]);
    let guest = shown.url("guest:guest", "vault?sslmode=disable");
    shown.add("no right to connect", at(&guest)).await;
    shown.server.sql("postgres", &["GRANT CONNECT ON DATABASE vault TO PUBLIC"]);
    for name in ["fsync", "full_page_writes"] {
        shown.server.set(name, "off");
        shown.add(name, at(&own)).await;
        shown.server.set(name, "on");
    }
    let latin = "CREATE DATABASE latin OWNER holdfast ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    shown.server.sql("postgres", &[latin]);
    let url = shown.url(&format!("{ROLE}:{PASSWORD_ESCAPED}"), "latin?sslmode=disable");
    shown.add("another encoding", at(&url)).await;
}

async fn services(shown: &mut Shown) {
    let own = shown.server.tls_url();
    shown.server.set("ssl", "off");
    shown.add("a server without TLS", at(&own)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answering = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let reason = match open(&at(&format!("postgres://u:hunter2@127.0.0.1:{port}/d"))).await {
        Ok(_) => panic!("it can be used"),
        Err(reason) => reason.to_string(),
    };
    answering.abort();
    shown.note("another service", &reason.replace(&port.to_string(), "PORT"));
}

/// A message of PostgreSQL's protocol.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A server that greets, and says the same to whatever it is asked afterwards.
async fn speaker(greeting: Vec<u8>, answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (greeting, answer) = (greeting.clone(), answer.clone());
            tokio::spawn(async move {
                let (mut bytes, mut said) = ([0; 4096], greeting);
                while client.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    client.write_all(&said).await.ok();
                    said.clone_from(&answer);
                }
            });
        }
    });
    port
}

/// What speaks something like PostgreSQL's protocol, and what speaks another one.
async fn speakers(shown: &mut Shown) {
    let ready = message(b'Z', b"I");
    let welcome = [message(b'R', &[0; 4]), ready.clone()].concat();
    let fields = b"SERROR\0VERROR\0C42883\0Munknown function: set_config()\0\0";
    let cases = [
        ("a service that greets in another protocol", b"\x4a\0\0\0\x0a8.0.36\0more".to_vec(), Vec::new()),
        ("a service that asks for nobody's name", ready.clone(), Vec::new()),
        ("a service that knows other functions", welcome, [message(b'E', fields), ready].concat()),
    ];
    for (what, greeting, answer) in cases {
        let port = speaker(greeting, answer).await;
        let url = format!("postgres://u:hunter2@127.0.0.1:{port}/d?sslmode=disable");
        let reason = match open(&at(&url)).await {
            Ok(_) => panic!("{what}: it can be used"),
            Err(reason) => reason.to_string(),
        };
        shown.note(what, &reason.replace(&port.to_string(), "PORT"));
    }
}
