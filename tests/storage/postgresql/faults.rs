//! Servers that die, stop and come back; credentials that change.

use std::time::{Duration, Instant};

use holdfast::config::{ClientTls, Credential, PostgresqlStorage};
use holdfast::vault::physical::{Backend, Commit, Feed, FeedEvent, HaBackend, Head, StorageError};

use super::world::{
    both, event, init, next_head, opened, own_server, put, read, settle, storage, until, write,
};
use crate::server_postgresql::{DATABASE, Postgresql, ROLE};

/// Ends all sessions of vaults on the server.
fn end_sessions(server: &Postgresql) {
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'holdfast %'";
    server.sql("postgres", &[end]);
}

async fn told(feed: &mut dyn Feed, head: &Head) {
    let FeedEvent::Record(record) = event(feed).await else { panic!("a reset") };
    assert_eq!(&record.head, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_found_again() {
    let mut server = own_server().await;
    let backend = opened(&storage(&server.url())).await;
    let head = init(&backend).await;
    let head = write(&backend, &head, &[put("a", "1")]).await;
    let mut feed = backend.follow(Some(head.clone())).await.expect("a feed");
    server.kill();
    let next = next_head(&head);
    let begun = Instant::now();
    let outcome = backend.commit(Some(&head), &next, &[put("a", "2")]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    let checked = backend.check().await;
    assert!(matches!(checked, Err(StorageError::Unavailable { .. })), "{checked:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "refused connections need no waiting: {:?}",
        begun.elapsed()
    );
    server.up();
    settle(&backend, Some(&head), &next, &[put("a", "2")]).await.expect("a commit");
    assert_eq!(read(&backend, "a").await.as_deref(), Some(&b"2"[..]));
    told(feed.as_mut(), &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_session_lost_the_next_call_opens_again() {
    let server = own_server().await;
    let (backend, register) = both(&storage(&server.url())).await;
    let mut head = init(&backend).await;
    let mut feed = backend.follow(Some(head.clone())).await.expect("a feed");
    for n in 0..5 {
        end_sessions(&server);
        let begun = Instant::now();
        read(&backend, "a").await;
        assert!(backend.check().await.is_ok() && register.read().await.is_ok());
        let next = next_head(&head);
        settle(&backend, Some(&head), &next, &[put("a", n.to_string())]).await.expect("a commit");
        println!("all sessions anew in {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        told(feed.as_mut(), &next).await;
        head = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answering_is_no_answer() {
    let server = own_server().await;
    let config = PostgresqlStorage { request_timeout: Duration::from_secs(1), ..storage(&server.url()) };
    let backend = opened(&config).await;
    let head = init(&backend).await;
    read(&backend, "a").await;
    server.freeze();
    let (next, ops) = (next_head(&head), [put("a", "1")]);
    let (outcome, got, checked) =
        tokio::join!(backend.commit(Some(&head), &next, &ops), backend.get("a"), backend.check());
    server.thaw();
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert!(got.is_err() && checked.is_err(), "{got:?} {checked:?}");
    settle(&backend, Some(&head), &next, &[put("a", "1")]).await.expect("a commit");
    assert_eq!(read(&backend, "a").await.as_deref(), Some(&b"1"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_is_waited_for() {
    let mut server = own_server().await;
    server.kill();
    let backend = opened(&storage(&server.url())).await;
    let checked = backend.check().await;
    assert!(matches!(checked, Err(StorageError::Unavailable { .. })), "{checked:?}");
    server.up();
    until("the check succeeds", async || backend.check().await == Ok(None)).await;
    init(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_away() {
    let server = own_server().await;
    let config = storage(&server.url());
    let backend = opened(&config).await;
    let head = init(&backend).await;
    server.set("default_transaction_read_only", "on");
    let checked = backend.check().await;
    let Err(StorageError::Unavailable { reason, .. }) = checked else { panic!("{checked:?}") };
    assert!(reason.contains("read-only"), "{reason}");
    let outcome = backend.commit(Some(&head), &next_head(&head), &[]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    let late = opened(&config).await;
    assert!(late.check().await.is_err());
    server.set("default_transaction_read_only", "off");
    until("both are back", async || backend.check().await.is_ok() && late.check().await.is_ok()).await;
    write(&late, &head, &[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_found_in_its_file() {
    let server = own_server().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    server.sql("postgres", &[&format!("ALTER ROLE {ROLE} PASSWORD 'first'")]);
    std::fs::write(&path, "first\n").expect("a file");
    let url = format!("postgres://{ROLE}@127.0.0.1:{}/{DATABASE}?sslmode=disable", server.port);
    let config = PostgresqlStorage { password: Some(Credential::File(path.clone())), ..storage(&url) };
    let backend = opened(&config).await;
    init(&backend).await;
    server.sql("postgres", &[&format!("ALTER ROLE {ROLE} PASSWORD 'second'")]);
    assert!(backend.check().await.is_ok(), "open sessions go on");
    end_sessions(&server);
    let checked = backend.check().await;
    let Err(StorageError::Denied { reason, .. }) = checked else { panic!("{checked:?}") };
    assert!(!reason.contains("first"), "{reason}");
    std::fs::write(&path, "second\n").expect("a file");
    until("the new password is used", async || backend.check().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_ca_is_found_in_its_file() {
    let server = own_server().await;
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.pem");
    std::fs::copy(server.file("ca.pem"), &ca_file).expect("a copy");
    let url = server.tls_url();
    let url = url.split("&sslrootcert").next().expect("a URL");
    let tls = ClientTls { ca_file: Some(ca_file.clone()), ..ClientTls::default() };
    let backend = opened(&PostgresqlStorage { tls, ..storage(url) }).await;
    init(&backend).await;
    std::fs::copy(server.file("other.pem"), &ca_file).expect("a copy");
    end_sessions(&server);
    let checked = backend.check().await;
    assert!(matches!(checked, Err(StorageError::Denied { .. })), "{checked:?}");
    std::fs::copy(server.file("ca.pem"), &ca_file).expect("a copy");
    until("the right CA is used", async || backend.check().await.is_ok()).await;
}

/// The process that only lets clients in may stop while sessions go on: they commit, and nobody new gets in.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_on_while_nobody_gets_in() {
    let server = own_server().await;
    let config = storage(&server.url());
    let backend = opened(&config).await;
    let head = init(&backend).await;
    let head = write(&backend, &head, &[put("a", "1")]).await;
    read(&backend, "a").await;
    server.freeze_the_door();
    let begun = Instant::now();
    let late = opened(&config).await;
    let checked = late.check().await;
    let waited = begun.elapsed();
    let outcome = backend.commit(Some(&head), &next_head(&head), &[put("a", "2")]).await;
    let proven = backend.check().await;
    server.thaw();
    assert!(matches!(checked, Err(StorageError::Unavailable { .. })), "{checked:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(outcome, Commit::Committed);
    assert!(proven.is_ok(), "{proven:?}");
    until("the late one gets in", async || late.check().await.is_ok()).await;
    assert_eq!(read(&late, "a").await.as_deref(), Some(&b"2"[..]));
}
