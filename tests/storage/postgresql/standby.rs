//! Synchronous replication: what is answered is on the standby, and what is not is never shown.

use std::time::Duration;

use holdfast::config::PostgresqlStorage;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, StorageError};

use super::world::{event, init, next_head, opened, own_server, put, read, settle, storage, until, write};
use crate::server_postgresql::{DATABASE, PASSWORD_ESCAPED, ROLE};

/// Sessions that wait for a standby in the middle of a commit.
const WAITING: &str =
    "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE '% writer'";

#[tokio::test(flavor = "multi_thread")]
async fn what_no_standby_has_is_never_shown() {
    let server = own_server().await;
    let config = PostgresqlStorage { request_timeout: Duration::from_secs(2), ..storage(&server.url()) };
    let backend = opened(&config).await;
    let head = init(&backend).await;
    let head = write(&backend, &head, &[put("a", "1")]).await;
    let mut feed = backend.follow(Some(head.clone())).await.expect("a feed");
    server.set("synchronous_standby_names", "'nobody'");
    let next = next_head(&head);
    let ops = [put("a", "2")];
    let cancel = async {
        until("the commit waits", async || {
            server.sql(DATABASE, &[&format!("SELECT count(*) {WAITING}")]) == "1"
        })
        .await;
        server.sql(DATABASE, &[&format!("SELECT pg_cancel_backend(pid) {WAITING}")])
    };
    let (outcome, _) = tokio::join!(backend.commit(Some(&head), &next, &ops), cancel);
    let Commit::Unknown { reason } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("warning"), "{reason}");
    // The server shows it to everybody by now, but would lose it with its disk.
    let stored = server.sql(DATABASE, &[&format!("SELECT seq FROM {}_head", config.table)]);
    assert_eq!(stored, next.seq.to_string());
    let got = backend.get("a").await;
    assert!(matches!(got, Err(StorageError::Unavailable { .. })), "{got:?}");
    let told = feed.next().await;
    assert!(told.is_err(), "{told:?}");
    let again = backend.commit(Some(&head), &next, &ops).await;
    assert!(matches!(again, Commit::Unknown { .. }), "fenced is an answer only when it is safe: {again:?}");
    let checked = backend.check().await;
    assert!(checked.is_err(), "a check needs the standby: {checked:?}");
    server.set("synchronous_standby_names", "''");
    until("the check succeeds", async || backend.check().await == Ok(Some(next.clone()))).await;
    assert_eq!(
        backend.commit(Some(&head), &next, &ops).await,
        Commit::Fenced { current: Some(next.clone()) }
    );
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a reset") };
    assert_eq!(record.head, next);
    assert_eq!(read(&backend, "a").await.as_deref(), Some(&b"2"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_has_every_commit_that_was_answered() {
    let mut primary = own_server().await;
    let standby = {
        let primary = &primary;
        tokio::task::block_in_place(|| primary.standby("s1"))
    };
    primary.set("synchronous_standby_names", "'s1'");
    // The standby comes first, and is passed over.
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port, primary.port);
    let config = storage(&format!("postgres://{ROLE}:{PASSWORD_ESCAPED}@{hosts}/{DATABASE}?sslmode=disable"));
    let backend = opened(&config).await;
    let mut head = init(&backend).await;
    for n in 0..20 {
        head = write(&backend, &head, &[put("n", n.to_string())]).await;
    }
    let mut feed = backend.follow(Some(head.clone())).await.expect("a feed");
    primary.kill();
    let next = next_head(&head);
    let outcome = backend.commit(Some(&head), &next, &[put("n", "20")]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "there is no primary: {outcome:?}");
    let got = backend.get("n").await;
    assert!(matches!(got, Err(StorageError::Unavailable { .. })), "a standby is not asked: {got:?}");
    standby.set("synchronous_standby_names", "''");
    standby.promote();
    settle(&backend, Some(&head), &next, &[put("n", "20")]).await.expect("a commit through the new primary");
    assert_eq!(read(&backend, "n").await.as_deref(), Some(&b"20"[..]));
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a reset") };
    assert_eq!(record.head, next, "the history goes on without a gap");
}
