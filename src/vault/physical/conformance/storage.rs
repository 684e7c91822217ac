//! Laws of commits and reads.

use bytes::Bytes;
use futures_util::future::join_all;

use super::writer::{claim_head, delete, first_head, init, next_head, put, read, settle, write};
use super::{Law, Store, ensure, within};
use crate::vault::physical::backend::{Backend, Commit, KEY_BYTES, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire::JOURNAL_RECORDS;

pub(super) async fn an_empty_store_says_so(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let got = backend.get("a").await;
    ensure(matches!(got, Err(StorageError::Empty { .. })), || format!("get: {got:?}"))?;
    let listed = backend.list("", None, 10).await;
    ensure(matches!(listed, Err(StorageError::Empty { .. })), || format!("list: {listed:?}"))?;
    let checked = backend.check().await;
    ensure(checked == Ok(None), || format!("check: {checked:?}"))?;
    let head = first_head("a");
    let outcome = backend.commit(Some(&head), &next_head(&head), &[put("a", "1")]).await;
    ensure(outcome == Commit::Fenced { current: None }, || {
        format!("commit after a head that is not there: {outcome:?}")
    })
}

pub(super) async fn init_happens_once(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let head = first_head("a");
    settle(backend.as_ref(), None, &head, &[put("core/keyring", "k"), put("core/seal", "s")]).await?;
    let again = backend.commit(None, &first_head("b"), &[put("core/keyring", "other")]).await;
    ensure(again == Commit::Fenced { current: Some(head.clone()) }, || format!("a second init: {again:?}"))?;
    let other = store.open().await;
    let again = other.commit(None, &first_head("c"), &[put("core/keyring", "other")]).await;
    ensure(again == Commit::Fenced { current: Some(head.clone()) }, || {
        format!("another node's init: {again:?}")
    })?;
    let kept = read(backend.as_ref(), "core/keyring").await?;
    ensure(kept == Some(Bytes::from_static(b"k")), || format!("the first init's value became {kept:?}"))?;
    let checked = other.check().await;
    ensure(checked == Ok(Some(head)), || format!("check: {checked:?}"))
}

pub(super) async fn concurrent_inits_have_one_winner(store: &dyn Store) -> Law {
    let backends = join_all((0..6).map(|_| store.open())).await;
    let heads: Vec<Head> = (0..6).map(|n| first_head(&format!("node-{n}"))).collect();
    let sent = backends.iter().zip(&heads).map(|(backend, head)| async move {
        let ops = [put("who", head.node.to_string())];
        settle(backend.as_ref(), None, head, &ops).await
    });
    let won: Vec<usize> =
        join_all(sent).await.iter().enumerate().filter(|(_, o)| o.is_ok()).map(|(n, _)| n).collect();
    ensure(won.len() == 1, || format!("{} inits succeeded", won.len()))?;
    let who = read(backends[0].as_ref(), "who").await?;
    let expected = Bytes::from(heads[won[0]].node.to_string());
    ensure(who.as_ref() == Some(&expected), || format!("{who:?} is stored, {expected:?} won"))
}

pub(super) async fn values_are_kept_as_they_are(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let head = init(backend.as_ref()).await?;
    let binary: Vec<u8> = (0..=255).collect();
    let odd = "sys/ümlaut/\u{1F511} ~!\"'\\%/x";
    let long = "k".repeat(KEY_BYTES);
    let cases: [(&str, Vec<u8>); 5] = [
        ("a", b"1".to_vec()),
        ("empty", Vec::new()),
        ("binary", binary),
        (odd, b"o".to_vec()),
        (&long, b"l".to_vec()),
    ];
    let ops: Vec<_> = cases.iter().map(|(key, value)| put(key, value.clone())).collect();
    let head = write(backend.as_ref(), &head, &ops).await?;
    for (key, value) in &cases {
        let found = read(backend.as_ref(), key).await?;
        ensure(found.as_deref() == Some(value), || format!("{key:?}: {found:?}"))?;
    }
    let head = write(backend.as_ref(), &head, &[put("a", "2"), delete("binary"), delete("never")]).await?;
    let found = (read(backend.as_ref(), "a").await?, read(backend.as_ref(), "binary").await?);
    ensure(found == (Some(Bytes::from_static(b"2")), None), || {
        format!("after a change and a delete: {found:?}")
    })?;
    let absent = backend.get("nothing").await.map_err(|error| error.to_string())?;
    ensure(absent.value.is_none() && absent.head == head, || format!("an absent key: {absent:?}"))
}

pub(super) async fn a_listing_is_in_byte_order_and_pages(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let head = init(backend.as_ref()).await?;
    let keys = ["B", "a", "a-b", "a/", "a/1", "a/10", "a/2", "a/Z", "a/z", "a/ä", "a0", "b", "ä"];
    let ops: Vec<_> = keys.iter().rev().map(|key| put(key, "v")).collect();
    let head = write(backend.as_ref(), &head, &ops).await?;
    let list = async |prefix: &str, after: Option<&str>, limit: usize| {
        backend.list(prefix, after, limit).await.map_err(|error| format!("list {prefix:?}: {error}"))
    };
    let all = list("", None, 100).await?;
    ensure(all.keys == keys && !all.more && all.head == head, || format!("everything: {all:?}"))?;
    let under = list("a/", None, 100).await?;
    ensure(under.keys == keys[3..10], || format!("a prefix: {under:?}"))?;
    let page = list("a/", None, 3).await?;
    ensure(page.keys == keys[3..6] && page.more, || format!("a first page: {page:?}"))?;
    let page = list("a/", Some("a/10"), 3).await?;
    ensure(page.keys == keys[6..9] && page.more, || format!("a second page: {page:?}"))?;
    let page = list("a/", Some("a/z"), 3).await?;
    ensure(page.keys == keys[9..10] && !page.more, || format!("the last page: {page:?}"))?;
    let page = list("a/", Some("a/1a"), 1).await?;
    ensure(page.keys == ["a/2"] && page.more, || format!("after a key that is not there: {page:?}"))?;
    let page = list("a/", Some("A"), 1).await?;
    ensure(page.keys == ["a/"], || format!("after a key before the prefix: {page:?}"))?;
    let page = list("a/", Some("b"), 10).await?;
    ensure(page.keys.is_empty() && !page.more, || format!("after a key beyond the prefix: {page:?}"))?;
    let exact = list("a/", None, 7).await?;
    ensure(exact.keys.len() == 7 && !exact.more, || format!("a page that fits exactly: {exact:?}"))?;
    let none = list("zzz", None, 10).await?;
    ensure(none.keys.is_empty() && !none.more, || format!("no match: {none:?}"))
}

pub(super) async fn a_batch_is_stored_whole(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let mut head = init(writer.as_ref()).await?;
    reader.check().await.map_err(|error| error.to_string())?;
    let width = 20.min(writer.limits().operations);
    for round in 0..10u32 {
        let text = round.to_string();
        let ops: Vec<_> = (0..width).map(|n| put(&format!("k/{n:02}"), text.clone())).collect();
        let write = write(writer.as_ref(), &head, &ops);
        let look = async {
            let mut seen = Vec::new();
            for n in 0..width {
                seen.push(reader.get(&format!("k/{n:02}")).await);
            }
            seen
        };
        let (written, seen) = tokio::join!(write, look);
        head = written?;
        // Every value must be the one that its own head stands for.
        for value in seen {
            let value = value.map_err(|error| error.to_string())?;
            let expected = value.head.seq.checked_sub(2).map(|round| Bytes::from(round.to_string()));
            ensure(value.value == expected, || format!("at {} there is {:?}", value.head.seq, value.value))?;
        }
    }
    let stale = next_head(&first_head("a"));
    let ops = [put("k/00", "stale"), put("new", "stale"), delete("k/01")];
    let outcome = writer.commit(Some(&stale), &next_head(&stale), &ops).await;
    ensure(matches!(outcome, Commit::Fenced { .. }), || {
        format!("a commit after a foreign head: {outcome:?}")
    })?;
    let found = (
        read(writer.as_ref(), "k/00").await?,
        read(writer.as_ref(), "k/01").await?,
        read(writer.as_ref(), "new").await?,
    );
    let nine = Some(Bytes::from_static(b"9"));
    ensure(found == (nine.clone(), nine, None), || format!("a fenced batch left {found:?}"))
}

pub(super) async fn the_whole_head_is_compared(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let other = store.open().await;
    let head = init(backend.as_ref()).await?;
    let head = write(backend.as_ref(), &head, &[put("a", "1")]).await?;
    let foreign = next_head(&first_head("x"));
    let near = [
        Head { batch_id: foreign.batch_id, ..head.clone() },
        Head { seq: head.seq - 1, ..head.clone() },
        Head { seq: head.seq + 1, ..head.clone() },
        Head { epoch: head.epoch + 1, ..head.clone() },
        Head { node: "x".into(), ..head.clone() },
        Head { cluster: "x".into(), ..head.clone() },
        Head { format: head.format + 1, ..head.clone() },
    ];
    for wrong in &near {
        for instance in [&backend, &other] {
            let outcome = instance.commit(Some(wrong), &next_head(&head), &[put("a", "wrong")]).await;
            let fenced = Commit::Fenced { current: Some(head.clone()) };
            ensure(outcome == fenced, || {
                format!("expecting {wrong:?} while {head:?} is stored: {outcome:?}")
            })?;
        }
    }
    let found = read(other.as_ref(), "a").await?;
    ensure(found == Some(Bytes::from_static(b"1")), || format!("a fenced commit left {found:?}"))
}

pub(super) async fn a_batch_may_be_sent_again(store: &dyn Store) -> Law {
    let (one, two) = (store.open().await, store.open().await);
    let head = init(one.as_ref()).await?;
    let next = next_head(&head);
    let ops = [put("a", "1")];
    settle(one.as_ref(), Some(&head), &next, &ops).await?;
    for instance in [&one, &two, &one] {
        let again = instance.commit(Some(&head), &next, &ops).await;
        let is_told = again == Commit::Committed || again == Commit::Fenced { current: Some(next.clone()) };
        ensure(is_told, || format!("the same batch again: {again:?}"))?;
    }
    let after = write(one.as_ref(), &next, &[put("a", "2")]).await?;
    let late = two.commit(Some(&head), &next, &ops).await;
    ensure(late == Commit::Fenced { current: Some(after) }, || {
        format!("the same batch when the head has moved: {late:?}")
    })?;
    let found = read(two.as_ref(), "a").await?;
    ensure(found == Some(Bytes::from_static(b"2")), || format!("it overwrote a later value: {found:?}"))
}

pub(super) async fn concurrent_commits_have_one_winner(store: &dyn Store) -> Law {
    let backends = join_all((0..4).map(|_| store.open())).await;
    let mut head = init(backends[0].as_ref()).await?;
    for round in 0..5 {
        let nexts: Vec<Head> = (0..8).map(|_| next_head(&head)).collect();
        let sent = nexts.iter().enumerate().map(|(n, next)| {
            let (backend, head) = (&backends[n % backends.len()], &head);
            async move { settle(backend.as_ref(), Some(head), next, &[put("n", n.to_string())]).await }
        });
        let outcomes = join_all(sent).await;
        let won: Vec<usize> =
            outcomes.iter().enumerate().filter(|(_, o)| o.is_ok()).map(|(n, _)| n).collect();
        ensure(won.len() == 1, || format!("round {round}: {} commits after one head succeeded", won.len()))?;
        head = nexts[won[0]].clone();
        let checked = backends[1].check().await;
        ensure(checked == Ok(Some(head.clone())), || {
            format!("round {round}: check {checked:?}, winner {head:?}")
        })?;
        for backend in &backends {
            backend.check().await.map_err(|error| error.to_string())?;
            let found = read(backend.as_ref(), "n").await?;
            let expected = Bytes::from(won[0].to_string());
            ensure(found.as_ref() == Some(&expected), || {
                format!("round {round}: {found:?}, winner {expected:?}")
            })?;
        }
    }
    Ok(())
}

pub(super) async fn a_claim_shuts_out_the_old_writer(store: &dyn Store) -> Law {
    let (old, new) = (store.open().await, store.open().await);
    let head = init(old.as_ref()).await?;
    let head = write(old.as_ref(), &head, &[put("a", "old")]).await?;
    let claim = claim_head(&head, "b");
    settle(new.as_ref(), Some(&head), &claim, &[]).await?;
    let late = old.commit(Some(&head), &next_head(&head), &[put("a", "late")]).await;
    ensure(late == Commit::Fenced { current: Some(claim.clone()) }, || format!("the old writer: {late:?}"))?;
    let after = write(new.as_ref(), &claim, &[put("b", "new")]).await?;
    let found = (read(new.as_ref(), "a").await?, read(new.as_ref(), "b").await?);
    let expected = (Some(Bytes::from_static(b"old")), Some(Bytes::from_static(b"new")));
    ensure(found == expected, || format!("after the claim: {found:?}"))?;
    let checked = old.check().await;
    ensure(checked == Ok(Some(after)), || format!("the old writer's check: {checked:?}"))
}

pub(super) async fn an_instance_never_goes_back(store: &dyn Store) -> Law {
    let (writer, reader) = (store.open().await, store.open().await);
    let mut head = init(writer.as_ref()).await?;
    for n in 0..20 {
        head = write(writer.as_ref(), &head, &[put("n", n.to_string())]).await?;
        // A check is no older than the acknowledged commit, and a read is no older than the check.
        let checked = reader.check().await;
        ensure(checked == Ok(Some(head.clone())), || format!("check {checked:?} after {head:?}"))?;
        let value = reader.get("n").await.map_err(|error| error.to_string())?;
        let expected = Bytes::from(n.to_string());
        let is_current = value.head == head && value.value.as_ref() == Some(&expected);
        ensure(is_current, || format!("after a check at {} a read gave {value:?}", head.seq))?;
        let listed = reader.list("", None, 5).await.map_err(|error| error.to_string())?;
        ensure(listed.head == head, || format!("a listing went back to {:?}", listed.head))?;
    }
    Ok(())
}

pub(super) async fn limits_are_definite_refusals(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let head = init(backend.as_ref()).await?;
    let limits = backend.limits();
    let refuse = async |what: &str, ops: Vec<_>| {
        let outcome = backend.commit(Some(&head), &next_head(&head), &ops).await;
        ensure(matches!(outcome, Commit::Refused(_)), || format!("{what}: {outcome:?}"))
    };
    refuse("a value above the limit", vec![put("a", vec![0; limits.value_bytes + 1])]).await?;
    refuse("a key above the limit", vec![put(&"k".repeat(KEY_BYTES + 1), "v")]).await?;
    refuse("an empty key", vec![put("", "v")]).await?;
    refuse("a key with a control character", vec![put("a\nb", "v")]).await?;
    if limits.operations < 100_000 {
        let many = (0..=limits.operations).map(|n| put(&n.to_string(), "v")).collect();
        refuse("too many operations", many).await?;
    }
    let half = limits.value_bytes.min(limits.commit_bytes / 2 + 1);
    let count = limits.commit_bytes / half + 1;
    if count <= limits.operations {
        let large = (0..count).map(|n| put(&format!("k{n}"), vec![0; half])).collect();
        refuse("too many bytes", large).await?;
    }
    let checked = backend.check().await;
    ensure(checked == Ok(Some(head.clone())), || format!("a refusal moved the head: {checked:?}"))?;
    write(backend.as_ref(), &head, &[put("a", "1")]).await.map(|_| ())
}

pub(super) async fn the_largest_commit_is_accepted(store: &dyn Store) -> Law {
    let (backend, other) = (store.open().await, store.open().await);
    let mut head = init(backend.as_ref()).await?;
    for _ in 0..3 {
        head = write(backend.as_ref(), &head, &[]).await?;
    }
    // As if so many commits had gone by: what follows also takes the journal's oldest records away.
    let late = Head { seq: JOURNAL_RECORDS + 1, ..next_head(&head) };
    settle(backend.as_ref(), Some(&head), &late, &[]).await?;
    let head = late;
    let limits = backend.limits();
    let key = "k";
    let size = limits.value_bytes.min(limits.commit_bytes - key.len());
    let value = Bytes::from((0..size).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect::<Vec<_>>());
    let head =
        within("the largest value", write(backend.as_ref(), &head, &[put(key, value.clone())])).await??;
    let count = limits.operations.min(limits.commit_bytes / 16);
    let ops: Vec<_> = (0..count).map(|n| put(&format!("n/{n:06}"), "v")).collect();
    let head = within("the most operations", write(backend.as_ref(), &head, &ops)).await??;
    for instance in [&backend, &other] {
        instance.check().await.map_err(|error| error.to_string())?;
        let found = instance.get(key).await.map_err(|error| error.to_string())?;
        ensure(found.value.as_ref() == Some(&value) && found.head == head, || {
            "the largest value differs".to_owned()
        })?;
        let listed = instance.list("n/", None, count + 1).await.map_err(|error| error.to_string())?;
        ensure(listed.keys.len() == count, || format!("{} of {count} keys are there", listed.keys.len()))?;
    }
    Ok(())
}

pub(super) async fn another_instance_finds_everything(store: &dyn Store) -> Law {
    let backend = store.open().await;
    let mut head = init(backend.as_ref()).await?;
    for n in 0..60u32 {
        let ops =
            [put(&format!("k/{:02}", n % 40), n.to_string()), delete(&format!("k/{:02}", (n + 7) % 40))];
        head = write(backend.as_ref(), &head, &ops).await?;
    }
    let other = store.open().await;
    let (ours, theirs) = (listing(backend.as_ref()).await?, listing(other.as_ref()).await?);
    ensure(ours == theirs && ours.0 == head, || format!("{ours:?} here, {theirs:?} there"))?;
    for key in &ours.1 {
        let (ours, theirs) = (read(backend.as_ref(), key).await?, read(other.as_ref(), key).await?);
        ensure(ours == theirs, || format!("{key}: {ours:?} here, {theirs:?} there"))?;
    }
    Ok(())
}

async fn listing(backend: &dyn Backend) -> Result<(Head, Vec<String>), String> {
    let listed = backend.list("", None, 1000).await.map_err(|error| error.to_string())?;
    Ok((listed.head, listed.keys))
}
