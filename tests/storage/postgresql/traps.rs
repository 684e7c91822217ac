//! The traps of this server: lost answers, frozen writers, odd keys, settings that hide things.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use holdfast::config::{Credential, PostgresqlStorage};
use holdfast::vault::physical::postgresql::open;
use holdfast::vault::physical::{Backend, Commit, FeedEvent, HaBackend, LockRecord, Op, StorageError, Swap};
use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;
use super::world::{
    both, claim_head, common_server, event, first_head, init, next_head, opened, own_server, put, read,
    settle, storage, until, write,
};
use crate::server_postgresql::{DATABASE, PASSWORD_ESCAPED, Postgresql, ROLE};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_journal_tells() {
    let server = common_server().await;
    let proxy = Proxy::start(server.port).await;
    let direct = storage(&server.url());
    let url =
        format!("postgres://{ROLE}:{PASSWORD_ESCAPED}@127.0.0.1:{}/{DATABASE}?sslmode=disable", proxy.port);
    let lossy = PostgresqlStorage {
        connection_url: Some(Credential::Text(url.as_str().into())),
        request_timeout: Duration::from_millis(700),
        ..direct.clone()
    };
    let (writer, other) = (opened(&lossy).await, opened(&direct).await);
    let head = init(&writer).await;
    let head = write(&writer, &head, &[put("a", "1")]).await;
    let next = next_head(&head);
    let ops = [put("a", "2")];
    proxy.swallow(true);
    let outcome = writer.commit(Some(&head), &next, &ops).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert!(proxy.swallowed() > 0, "the answer came through nobody");
    assert_eq!(other.check().await, Ok(Some(next.clone())), "it was done nevertheless");
    proxy.swallow(false);
    let again = writer.commit(Some(&head), &next, &ops).await;
    assert_eq!(again, Commit::Fenced { current: Some(next.clone()) });
    let mut feed = writer.follow(Some(head)).await.expect("a feed");
    let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a reset") };
    assert_eq!((record.head.batch_id, record.keys), (next.batch_id, vec!["a".to_owned()]));
    assert_eq!(read(&writer, "a").await.as_deref(), Some(&b"2"[..]));
    write(&writer, &next, &[put("a", "3")]).await;
}

/// A session that calls itself `mark` and holds the row of `table`, as a client does that stops in the middle
/// of its statement.
async fn hold(server: &Postgresql, table: &str, mark: &str) -> Child {
    let mut psql = server.psql(ROLE, DATABASE, &format!("SET application_name = '{mark}'"));
    let update = format!("UPDATE {table} SET id = 1");
    let holding = psql.args([
        "-c",
        "BEGIN",
        "-c",
        &update,
        "-c",
        "SET statement_timeout = 0",
        "-c",
        "SELECT 'held', pg_sleep(60)",
    ]);
    let child = holding.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql");
    let held = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{mark}' AND query LIKE '%''held''%'"
    );
    until("a session holds the row", async || server.sql(DATABASE, &[&held]) == "1").await;
    child
}

fn end(mut child: Child) {
    child.kill().ok();
    child.wait().ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_frees_the_row_of_a_frozen_writer() {
    let server = common_server().await;
    let config = storage(&server.url());
    let (old, new) = (opened(&config).await, opened(&config).await);
    let head = init(&old).await;
    let head = write(&old, &head, &[put("a", "1")]).await;
    write(&new, &head, &[]).await;
    let head = new.check().await.expect("a check").expect("a head");
    let frozen = hold(server, &format!("{}_head", config.table), "holdfast frozen1 writer").await;
    let begun = Instant::now();
    assert_eq!(new.check().await, Ok(Some(head.clone())), "a check waits for nobody's row");
    let claim = claim_head(&head);
    assert_eq!(new.commit(Some(&head), &claim, &[]).await, Commit::Committed);
    println!("the claim took {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let late = old.commit(Some(&head), &next_head(&head), &[put("a", "late")]).await;
    assert_eq!(late, Commit::Fenced { current: Some(claim) });
    end(frozen);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_session_is_ended() {
    let server = common_server().await;
    let config = PostgresqlStorage { request_timeout: Duration::from_millis(900), ..storage(&server.url()) };
    let backend = opened(&config).await;
    let head = init(&backend).await;
    let person = hold(server, &format!("{}_head", config.table), "a person").await;
    let claim = claim_head(&head);
    let outcome = backend.commit(Some(&head), &claim, &[]).await;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    let held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'a person'";
    assert_eq!(server.sql(DATABASE, &[held]), "1", "the session of a person was ended");
    let cancel = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a person'";
    server.sql(DATABASE, &[cancel]);
    end(person);
    settle(&backend, Some(&head), &claim, &[]).await.expect("the claim, once the row is free");
}

/// Whoever notifies takes a turn of the whole server that lasts until its commit is answered. One that stops in it, be it
/// a vault's, holds up commits, but it is not the row's holder: it may be any other vault's.
#[tokio::test(flavor = "multi_thread")]
async fn the_turn_to_notify_is_waited_for_and_nobody_is_ended() {
    let server = own_server().await;
    let config = PostgresqlStorage { request_timeout: Duration::from_millis(1500), ..storage(&server.url()) };
    let backend = opened(&config).await;
    let head = init(&backend).await;
    let head = write(&backend, &head, &[put("a", "1")]).await;
    server.set("synchronous_standby_names", "'nobody'");
    let mark = "holdfast frozen4 writer";
    let notify = "SELECT pg_logical_emit_message(true, 'test', ''); NOTIFY elsewhere";
    let mut psql = server.psql(ROLE, DATABASE, &format!("SET application_name = '{mark}'"));
    let mut psql =
        psql.args(["-c", notify]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql");
    let waiting = format!(
        "SELECT pid FROM pg_stat_activity WHERE application_name = '{mark}' AND wait_event = 'SyncRep'"
    );
    until("it waits in its commit", async || !server.sql(DATABASE, &[&waiting]).is_empty()).await;
    let pid = server.sql(DATABASE, &[&waiting]).parse().ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::STOP).expect("a process");
    server.set("synchronous_standby_names", "''");
    let claim = claim_head(&head);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        (backend.check().await, read(&backend, "a").await)
    };
    let (outcome, (checked, value)) = tokio::join!(backend.commit(Some(&head), &claim, &[]), meanwhile);
    kill_process(pid, Signal::CONT).expect("a process");
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert_eq!((checked, value), (Ok(Some(head.clone())), Some("1".into())), "they wait for nobody's turn");
    settle(&backend, Some(&head), &claim, &[]).await.expect("the claim, once it is its turn");
    assert!(psql.wait().expect("an end").success());
    let log = server.log();
    assert!(!log.contains("terminating connection"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_frees_the_row_of_the_lock() {
    let server = common_server().await;
    let config = storage(&server.url());
    let (_, register) = both(&config).await;
    let record = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    let Swap::Swapped(version) = register.swap(None, &record).await else { panic!("no lock") };
    let frozen = hold(server, &format!("{}_lock", config.table), "holdfast frozen2 lock").await;
    let begun = Instant::now();
    let outcome = register.swap(Some(&version), &record).await;
    assert!(matches!(outcome, Swap::Swapped(_)), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    end(frozen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_deleted_has_no_old_version() {
    let server = common_server().await;
    let config = storage(&server.url());
    let (_, register) = both(&config).await;
    let record = LockRecord { holder: "a".to_owned(), ..LockRecord::default() };
    let Swap::Swapped(old) = register.swap(None, &record).await else { panic!("no lock") };
    let mut watch = register.watch().await.expect("a watch");
    assert!(watch.changed().await.expect("a report").is_some());
    server.sql(DATABASE, &[&format!("DELETE FROM {}_lock", config.table)]);
    let gone = tokio::time::timeout(Duration::from_secs(3), watch.changed()).await;
    assert_eq!(gone.expect("a report in time"), Ok(None));
    assert!(matches!(register.swap(None, &record).await, Swap::Swapped(_)));
    assert_eq!(register.swap(Some(&old), &record).await, Swap::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_operations_on_a_key_the_last_one_counts() {
    let backend = opened(&storage(&common_server().await.url())).await;
    let head = init(&backend).await;
    let delete = |key: &str| Op::Delete { key: key.to_owned() };
    let ops = [put("a", "1"), put("a", "2"), put("b", "1"), delete("b"), delete("c"), put("c", "3")];
    write(&backend, &head, &ops).await;
    let found = (read(&backend, "a").await, read(&backend, "b").await, read(&backend, "c").await);
    assert_eq!(found, (Some("2".into()), None, Some("3".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_without_a_head_is_no_empty_store() {
    let server = common_server().await;
    let config = storage(&server.url());
    let backend = opened(&config).await;
    let head = init(&backend).await;
    write(&backend, &head, &[put("a", "1")]).await;
    server.sql(DATABASE, &[&format!("DELETE FROM {}_head", config.table)]);
    assert_eq!(backend.check().await, Ok(None));
    let outcome = backend.commit(None, &first_head(), &[put("a", "new")]).await;
    assert!(matches!(outcome, Commit::Refused(StorageError::Damaged { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_was_put_back_is_seen_by_check_feed_and_reads() {
    let server = common_server().await;
    let config = storage(&server.url());
    let backend = opened(&config).await;
    let head = init(&backend).await;
    let old = write(&backend, &head, &[put("a", "1")]).await;
    let table = format!("{}_head", config.table);
    server.sql(DATABASE, &[&format!("CREATE TABLE {}_backup AS SELECT * FROM {table}", config.table)]);
    let now = write(&backend, &old, &[put("a", "2")]).await;
    let now = write(&backend, &now, &[put("a", "3")]).await;
    let mut feed = backend.follow(Some(now)).await.expect("a feed");
    let put_back =
        format!("UPDATE {table} AS h SET seq = b.seq, head = b.head FROM {}_backup AS b", config.table);
    server.sql(DATABASE, &[&put_back]);
    assert_eq!(event(feed.as_mut()).await, FeedEvent::Reset { head: Some(old.clone()) });
    assert_eq!(backend.check().await, Ok(Some(old.clone())));
    assert_eq!(backend.get("a").await.expect("a read").head, old);
    // The journal still holds two records of the old history; another one takes their numbers.
    let mut head = old;
    for key in ["b", "c"] {
        head = write(&backend, &head, &[put(key, "new")]).await;
        let FeedEvent::Record(record) = event(feed.as_mut()).await else { panic!("a reset") };
        assert_eq!((&record.head, record.keys), (&head, vec![key.to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_cannot_weaken_its_sessions() {
    let server = own_server().await;
    for setting in [
        "synchronous_commit = off",
        "client_min_messages = error",
        "statement_timeout = '150ms'",
        "default_transaction_isolation = 'serializable'",
        "search_path = public",
    ] {
        server.sql("postgres", &[&format!("ALTER ROLE {ROLE} SET {setting}")]);
    }
    let config = storage(&server.url());
    let (one, two) = (opened(&config).await, opened(&config).await);
    let head = init(&one).await;
    // Two at once: with another isolation the loser would see an error instead of a fence.
    let nexts = [next_head(&head), next_head(&head)];
    let outcomes =
        tokio::join!(one.commit(Some(&head), &nexts[0], &[]), two.commit(Some(&head), &nexts[1], &[]));
    let won = match outcomes {
        (Commit::Committed, Commit::Fenced { current }) => (current, nexts[0].clone()),
        (Commit::Fenced { current }, Commit::Committed) => (current, nexts[1].clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(won.0, Some(won.1.clone()));
    // The claim waits longer than the role's statements may.
    let frozen = hold(&server, &format!("{}_head", config.table), "holdfast frozen3 writer").await;
    assert_eq!(one.commit(Some(&won.1), &claim_head(&won.1), &[]).await, Commit::Committed);
    end(frozen);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_is_named_and_there_are_four() {
    let server = common_server().await;
    let config = storage(&server.tls_url());
    let (backend, register) = both(&config).await;
    let head = init(&backend).await;
    write(&backend, &head, &[put("a", "1")]).await;
    read(&backend, "a").await;
    register.read().await.expect("a read");
    let count = format!(
        "SELECT string_agg(split_part(application_name, ' ', 3), ' ' ORDER BY split_part(application_name, ' ', 3)) \
         FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE ssl AND application_name LIKE 'holdfast %' AND split_part(application_name, ' ', 2) = \
         (SELECT split_part(application_name, ' ', 2) FROM pg_stat_activity WHERE query LIKE '%{}_head%' AND application_name LIKE '% writer')",
        config.table
    );
    until("four sessions", async || server.sql(DATABASE, &[&count]) == "listener prover reader writer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_hides_nothing() {
    let server = common_server().await;
    let config = storage(&server.url());
    let backend = opened(&config).await;
    let head = init(&backend).await;
    write(&backend, &head, &[put("a", "1")]).await;
    let table = format!("{}_kv", config.table);
    let force = format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY");
    server.sql(DATABASE, &[&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"), &force]);
    let Err(reason) = open(&config).await else { panic!("a hidden row would look like an absent key") };
    assert!(reason.to_string().contains("row-level security"), "{reason}");
    let found = backend.get("a").await;
    assert!(found.is_err(), "{found:?}");
}

/// A database may order texts as people do, and keys have an order of their own.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_in_byte_order_however_the_database_orders_texts() {
    let server = common_server().await;
    let database = "as_people_do";
    let create = format!(
        "CREATE DATABASE {database} OWNER {ROLE} TEMPLATE template0 ENCODING UTF8 LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
    );
    server.sql("postgres", &[&create]);
    let mut keys = vec!["B", "a", "a-b", "a/", "A", "\u{e4}", "_", "ab", "Z", "z"];
    let texts = keys.iter().map(|key| format!("('{key}')")).collect::<Vec<_>>().join(",");
    let ordered = server
        .sql(database, &[&format!("SELECT string_agg(k, ' ' ORDER BY k) FROM (VALUES {texts}) AS t(k)")]);
    keys.sort_unstable();
    assert_ne!(ordered, keys.join(" "), "the test needs a database with another order");
    let backend = opened(&storage(&server.url().replace(DATABASE, database))).await;
    let head = init(&backend).await;
    let ops: Vec<_> = keys.iter().map(|key| put(key, "v")).collect();
    write(&backend, &head, &ops).await;
    assert_eq!(backend.list("", None, 100).await.expect("a listing").keys, keys);
    let mut paged = Vec::new();
    while paged.len() < keys.len() {
        let after = paged.last().cloned();
        let page = backend.list("", after.as_deref(), 3).await.expect("a page");
        assert!(!page.keys.is_empty(), "after {after:?} there is nothing");
        paged.extend(page.keys);
    }
    assert_eq!(paged, keys);
}
