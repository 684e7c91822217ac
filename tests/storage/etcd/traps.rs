//! What etcd does that one would not expect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::config::Credential;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, HaBackend, LockRecord, StorageError, Swap};

use super::world::{
    PATIENCE, Writer, event, first_head, new_path, next_head, opened, put, read, recorded, settings, single,
    started, until,
};
use crate::etcd_server::{Etcd, PASSWORD, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_lower_limits_refuses_for_good() {
    let flags = ["--max-txn-ops=20", "--max-request-bytes=100000"].map(str::to_owned).into();
    let servers = started(|| Etcd::start(Plan { flags, ..Plan::default() })).await;
    let (backend, _) = opened(&settings(&servers, &new_path(), 0)).await;
    let mut writer = Writer::init(backend).await;
    let many: Vec<_> = (0..30).map(|n| put(&n.to_string(), "v")).collect();
    let outcome = writer.send(&many).await;
    let refused = matches!(outcome, Commit::Refused(StorageError::TooManyOperations { operations: 32, .. }));
    assert!(refused, "{outcome:?}");
    // etcd itself says no to the first, the layer below it to the second.
    for bytes in [200_000, 900_000] {
        let outcome = writer.send(&[put("large", vec![0; bytes])]).await;
        assert!(matches!(outcome, Commit::Refused(StorageError::TooLarge { .. })), "{outcome:?}");
    }
    assert_eq!(writer.backend.check().await, Ok(Some(writer.head.clone())));
    writer.write(&[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_never_hides_what_it_stored() {
    let flags = vec![format!("--quota-backend-bytes={}", 24 << 20)];
    let servers = started(|| Etcd::start(Plan { flags, ..Plan::default() })).await;
    // Many writers at once: etcd admits a transaction by the size that it has when the transaction comes, and says "no
    // space" after applying one that did not fit any more.
    let mut writers = Vec::new();
    for _ in 0..8 {
        writers.push(Writer::init(opened(&settings(&servers, &new_path(), 0)).await.0).await);
    }
    let filling = writers.iter_mut().map(|writer| async {
        for round in 0..64u8 {
            match writer.send(&[put("a", vec![round; 700_000])]).await {
                Commit::Committed => {}
                Commit::Refused(StorageError::Full { used_bytes, .. }) => {
                    assert!(used_bytes > 10 << 20, "{used_bytes}");
                    assert_eq!(
                        writer.backend.check().await,
                        Ok(Some(writer.head.clone())),
                        "stored, and refused"
                    );
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("it never became full");
    });
    tokio::time::timeout(PATIENCE, join_all(filling)).await.expect("a full database");
    for writer in &mut writers {
        let outcome = writer.send(&[]).await;
        assert!(matches!(outcome, Commit::Refused(StorageError::Full { .. })), "{outcome:?}");
        assert_eq!(writer.backend.check().await, Ok(Some(writer.head.clone())), "reads go on");
    }
    // What people do then.
    compact(&servers);
    servers.ctl(&["defrag"]);
    servers.ctl(&["alarm", "disarm"]);
    for writer in &mut writers {
        writer.write(&[put("a", "small")]).await;
    }
}

/// Takes every old value away.
fn compact(servers: &Etcd) {
    let status = servers.ctl(&["endpoint", "status", "--write-out=json"]);
    let revision = status
        .split("\"revision\":")
        .nth(1)
        .and_then(|rest| rest.split([',', '}']).next())
        .expect("a revision");
    servers.ctl(&["compact", revision]);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_takes_nothing_that_is_needed() {
    let servers = single().await;
    let path = new_path();
    let (backend, _) = opened(&settings(servers, &path, 0)).await;
    let (reader, _) = opened(&settings(servers, &path, 0)).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    for n in 0..10 {
        writer.write(&[put("n", n.to_string())]).await;
    }
    compact(servers);
    for seq in 2..=11 {
        assert_eq!(recorded(feed.as_mut()).await.seq, seq);
    }
    writer.write(&[put("n", "after")]).await;
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
}

/// A watch from the old head's revision would be cancelled: that revision is compacted.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_after_a_compaction_follows_from_an_old_head() {
    let servers = single().await;
    let path = new_path();
    let mut writer = Writer::init(opened(&settings(servers, &path, 0)).await.0).await;
    let old = writer.head.clone();
    for n in 0..10 {
        writer.write(&[put("n", n.to_string())]).await;
    }
    compact(servers);
    let (reader, _) = opened(&settings(servers, &path, 0)).await;
    let mut feed = reader.follow(Some(old)).await.expect("a feed");
    for seq in 2..=11 {
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a gap at {seq}") };
        assert_eq!((record.head.seq, record.keys), (seq, vec!["n".to_owned()]));
    }
    writer.write(&[put("n", "after")]).await;
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
}

/// etcd cancels a watch and leaves its stream open, on which nothing comes any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_was_cancelled_is_opened_again() {
    let servers = with_users().await;
    let mut settings = settings(&servers, &new_path(), 0);
    settings.username = Some(Credential::Text("holdfast".into()));
    settings.password = Some(Credential::Text(PASSWORD.into()));
    let mut writer = Writer::init(opened(&settings).await.0).await;
    let (reader, _) = opened(&settings).await;
    servers.ctl(&["role", "revoke-permission", "vault", "--prefix=true", "/vault/"]);
    // Whoever may not read the key is told so on the stream.
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    let refused = feed.next().await;
    assert!(matches!(refused, Err(StorageError::Denied { .. })), "{refused:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    servers.ctl(&["role", "grant-permission", "vault", "--prefix=true", "readwrite", "/vault/"]);
    let begun = Instant::now();
    for n in 0..10 {
        let happening = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            writer.write(&[put("n", n.to_string())]).await;
        };
        let ((), head) = tokio::join!(happening, recorded(feed.as_mut()));
        assert_eq!(head, writer.head);
    }
    // The watch comes again within about a second. Looking once a second would take ten.
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_trimmed_is_a_reset() {
    let servers = single().await;
    let (backend, _) = opened(&settings(servers, &new_path(), 0)).await;
    let mut writer = Writer::init(backend).await;
    let start = writer.head.clone();
    let (mut trimmed, records) = (writer.head.clone(), holdfast::vault::physical::wire::JOURNAL_RECORDS);
    // As if so many commits had gone by.
    trimmed.seq = records + 1;
    settle_at(&mut writer, trimmed).await;
    let mut feed = writer.backend.follow(Some(start)).await.expect("a feed");
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: Some(writer.head.clone()) });
}

async fn settle_at(writer: &mut Writer, next: holdfast::vault::physical::Head) {
    super::world::settle(writer.backend.as_ref(), Some(&writer.head), &next, &[]).await.expect("a commit");
    writer.head = next;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_starts_anew_beside_data() {
    let servers = single().await;
    for name in ["core/keyring", "logical/x", "data/a", "sys/policy"] {
        let path = new_path();
        let (backend, register) = opened(&settings(servers, &path, 0)).await;
        // The lock may be there: it is taken before init.
        let swapped = register.swap(None, &LockRecord::default()).await;
        assert!(matches!(swapped, Swap::Swapped(_)), "{swapped:?}");
        servers.ctl(&["put", &format!("{path}{name}"), "of somebody else"]);
        let outcome = backend.commit(None, &first_head(), &[put("a", "1")]).await;
        assert!(matches!(outcome, Commit::Refused(StorageError::Damaged { .. })), "{name}: {outcome:?}");
        servers.ctl(&["del", &format!("{path}{name}")]);
        Writer::init(backend).await.write(&[put("a", "1")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_lost_or_comes_back_older_shows() {
    let servers = single().await;
    let path = new_path();
    let (backend, _) = opened(&settings(servers, &path, 0)).await;
    let mut writer = Writer::init(backend).await;
    let old = writer.head.clone();
    let old_text = servers.ctl(&["get", &format!("{path}head"), "--print-value-only"]);
    writer.write(&[put("a", "1")]).await;
    writer.write(&[put("a", "2")]).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    servers.ctl(&["del", &format!("{path}head")]);
    assert_eq!(writer.backend.check().await, Ok(None));
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: None });
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[]).await;
    assert_eq!(outcome, Commit::Fenced { current: None });
    assert!(matches!(writer.backend.get("a").await, Err(StorageError::Empty { .. })));
    servers.ctl(&["put", &format!("{path}head"), old_text.trim_end()]);
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: Some(old.clone()) });
    assert_eq!(writer.backend.check().await, Ok(Some(old.clone())));
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[]).await;
    assert_eq!(outcome, Commit::Fenced { current: Some(old) });
    servers.ctl(&["put", &format!("{path}head"), "{}"]);
    assert!(matches!(writer.backend.check().await, Err(StorageError::Damaged { .. })));
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[]).await;
    assert!(matches!(outcome, Commit::Refused(StorageError::Damaged { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_deleted_has_no_old_version() {
    let servers = single().await;
    let path = new_path();
    let (_, register) = opened(&settings(servers, &path, 0)).await;
    let held = |holder: &str| LockRecord { holder: holder.to_owned(), ..LockRecord::default() };
    let Swap::Swapped(first) = register.swap(None, &held("a")).await else { panic!("no swap") };
    servers.ctl(&["del", &format!("{path}lock")]);
    assert_eq!(register.read().await, Ok(None));
    assert_eq!(register.swap(Some(&first), &held("b")).await, Swap::Conflict);
    let Swap::Swapped(second) = register.swap(None, &held("a")).await else { panic!("no swap") };
    assert_ne!(first, second);
    assert_eq!(register.swap(Some(&first), &held("b")).await, Swap::Conflict);
}

/// One server whose users must log in.
async fn with_users() -> Etcd {
    let plan =
        Plan { has_users: true, paths: vec!["/vault/".to_owned()], flags: Vec::new(), ..Plan::default() };
    started(|| Etcd::start(plan)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_is_found_without_an_unknown_outcome() {
    let servers = with_users().await;
    let mut settings = settings(&servers, &new_path(), 0);
    let file: PathBuf = servers.folder().join("password");
    std::fs::write(&file, PASSWORD).expect("a file");
    settings.username = Some(Credential::Text("holdfast".into()));
    settings.password = Some(Credential::File(file.clone()));
    let (backend, _) = opened(&settings).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = writer.backend.follow(Some(writer.head.clone())).await.expect("a feed");
    for password in ["second", "third"] {
        writer.write(&[put("a", password)]).await;
        recorded(feed.as_mut()).await;
        // A new password ends every login of its user.
        std::fs::write(&file, password).expect("a file");
        set_password(&servers, password);
        let outcome = writer.send(&[put("a", "after")]).await;
        assert_eq!(outcome, Commit::Committed, "what was not looked at is no unknown outcome");
        assert_eq!(recorded(feed.as_mut()).await, writer.head);
    }
    // The file comes later than the change.
    set_password(&servers, "fourth");
    let next = next_head(&writer.head);
    let outcome = writer.backend.commit(Some(&writer.head), &next, &[]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert!(matches!(writer.backend.check().await, Err(StorageError::Denied { .. })));
    std::fs::write(&file, "fourth").expect("a file");
    writer.write(&[put("a", "at last")]).await;
}

fn set_password(servers: &Etcd, password: &str) {
    servers.ctl(&["user", "delete", "holdfast"]);
    servers.ctl(&["user", "add", &format!("holdfast:{password}")]);
    servers.ctl(&["user", "grant-role", "holdfast", "vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_with_users_is_used_again() {
    let mut servers = with_users().await;
    let mut settings = settings(&servers, &new_path(), 0);
    settings.username = Some(Credential::Text("holdfast".into()));
    settings.password = Some(Credential::Text(PASSWORD.into()));
    let (backend, register) = opened(&settings).await;
    let mut writer = Writer::init(backend).await;
    servers.restart(0);
    servers.wait_until_ready(0);
    let outcome = writer.send(&[put("a", "1")]).await;
    assert_eq!(outcome, Commit::Committed);
    assert_eq!(register.read().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_are_a_definite_refusal() {
    let servers = with_users().await;
    let mut settings = settings(&servers, &new_path(), 0);
    settings.username = Some(Credential::Text("holdfast".into()));
    settings.password = Some(Credential::Text(PASSWORD.into()));
    let (backend, register) = opened(&settings).await;
    let mut writer = Writer::init(backend).await;
    servers.ctl(&["role", "revoke-permission", "vault", "--prefix=true", "/vault/"]);
    let outcome = writer.send(&[put("a", "1")]).await;
    assert!(matches!(outcome, Commit::Refused(StorageError::Denied { .. })), "{outcome:?}");
    assert!(matches!(writer.backend.get("a").await, Err(StorageError::Denied { .. })));
    assert!(register.read().await.is_err());
    servers.ctl(&["role", "grant-permission", "vault", "--prefix=true", "readwrite", "/vault/"]);
    until("the rights are back", async || writer.backend.check().await == Ok(Some(writer.head.clone())))
        .await;
    writer.write(&[put("a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_certificate_is_found_when_the_old_one_is_refused() {
    let plan = Plan { has_tls: true, flags: Vec::new(), ..Plan::default() };
    let mut servers = started(|| Etcd::start(plan)).await;
    let pki = servers.pki.clone().expect("keys");
    let mut settings = settings(&servers, &new_path(), 0);
    (settings.username, settings.password) = (None, None);
    let mine = pki.client("mine", "vault-0");
    settings.tls.cert_file = Some(mine.cert.clone());
    settings.tls.key_file = Some(mine.key.clone());
    let (backend, _) = opened(&settings).await;
    let backend = Arc::new(backend);
    let mut writer = Writer::init(backend.as_ref().clone()).await;
    // A certificate of nobody, as if it had run out: found at the next connection.
    mine.replace_by(&pki.foreign().client);
    servers.restart(0);
    servers.wait_until_ready(0);
    let refused = backend.check().await;
    assert!(matches!(refused, Err(StorageError::Denied { .. })), "{refused:?}");
    mine.replace_by(&pki.client("next", "vault-0"));
    writer.write(&[put("a", "1")]).await;
    assert_eq!(read(backend.as_ref(), "a").await.as_deref(), Some(b"1".as_slice()));
}

/// Leases are counted in whole seconds, and a new leader of etcd prolongs all of them: nothing of ours ends with one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_hangs_on_a_lease() {
    let servers = single().await;
    let path = new_path();
    let (backend, register) = opened(&settings(servers, &path, 0)).await;
    let mut writer = Writer::init(backend).await;
    writer.write(&[put("a", "1")]).await;
    let held = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    assert!(matches!(register.swap(None, &held).await, Swap::Swapped(_)));
    let kept = servers.ctl(&["get", &path, "--prefix", "--write-out=json"]);
    let kept: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
    let keys = kept["kvs"].as_array().expect("keys");
    assert!(keys.len() >= 3, "head, lock, record and value: {kept}");
    assert!(keys.iter().all(|key| key["lease"].as_u64().unwrap_or_default() == 0), "{kept}");
}
