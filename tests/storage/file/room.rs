//! A full disk: nothing is lost, reads go on, deletes are possible, and writes go on once there is room again.

use std::time::Duration;

use bytes::Bytes;
use holdfast::config::FileStorage;
use holdfast::vault::physical::file::{FileBackend, open};
use holdfast::vault::physical::{Backend, Commit, Head, Op, StorageError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::process::{given_folder, in_shell, private_shell};
use super::writer::{assert_whole, batch, begin, commit, head_of, large, next_head, write};

/// Writes until it is refused; the last head that is stored, and the batch that was not.
async fn fill(store: &FileBackend, mut head: Head, bytes: usize) -> (Head, Head, Commit) {
    for _ in 0..10_000 {
        let (outcome, next) = commit(store, &head, &large(head.seq + 1, bytes)).await;
        match outcome {
            Commit::Committed => head = next,
            other => return (head, next, other),
        }
    }
    panic!("it never was full");
}

#[tokio::test]
async fn the_limit_of_data_refuses_growth_and_lets_deletes_make_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let config =
        FileStorage { data_limit_bytes: Some(1 << 20), ..FileStorage::at(folder.path().join("vault")) };
    let store = open(&config).await.expect("a store");
    let head = begin(&store).await;
    let (head, _, outcome) = fill(&store, head, 100_000).await;
    let full = StorageError::Full {
        storage: "file",
        used_bytes: store.used_bytes().expect("known"),
        limit_bytes: 1 << 20,
    };
    assert_eq!(outcome, Commit::Refused(full));
    assert_eq!(head_of(&store).await, Some(head.clone()));
    let key = format!("large/{:06}", head.seq);
    let smaller = Op::Put { key: key.clone(), value: Bytes::from_static(b"x") };
    let head = write(&store, &head, &[smaller]).await;
    let head = write(&store, &head, &[Op::Delete { key }]).await;
    let used = store.used_bytes();
    write(&store, &head, &large(999, 90_000)).await;
    drop(store);
    let again = open(&config).await.expect("a store");
    assert_eq!(again.used_bytes(), used.map(|used| used + 90_000 + "large/000999".len() as u64));
}

#[test]
fn a_limit_of_the_system_on_files_loses_nothing() {
    let parent = tempfile::tempdir().expect("a folder");
    let script = "trap '' XFSZ; exec \"$@\"";
    let test = "file::room::meets_a_limit_on_files";
    let status = in_shell(&["sh", "-c"], script, test, &parent.path().join("vault")).status();
    assert!(status.expect("a shell").success());
}

/// The limit is met in the middle of a transaction: the embedded store fails, and is opened again.
#[tokio::test]
#[ignore = "a process of its own, started by the test above"]
async fn meets_a_limit_on_files() {
    let Some(folder) = given_folder() else { return };
    let store = open(&FileStorage::at(&folder)).await.expect("a store");
    let mut head = begin(&store).await;
    for _ in 0..60 {
        head = write(&store, &head, &batch(head.seq + 1)).await;
    }
    let file_bytes = std::fs::metadata(format!("{folder}/vault.redb")).expect("a file").len();
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(file_bytes), ..before }).expect("a limit");
    let (head, next, outcome) = fill(&store, head, 100_000).await;
    println!("with {file_bytes} bytes of file: {outcome:?}");
    let is_told = matches!(outcome, Commit::Refused(StorageError::Full { .. }) | Commit::Unknown { .. });
    assert!(is_told, "{outcome:?}");
    assert_eq!(head_of(&store).await, Some(head.clone()), "what failed is not there");
    assert_whole(&store).await;
    setrlimit(Resource::Fsize, before).expect("no limit");
    assert_eq!(store.commit(Some(&head), &next, &large(head.seq + 1, 100_000)).await, Commit::Committed);
    let head = write(&store, &next, &batch(next.seq + 1)).await;
    write(&store, &head, &large(head.seq + 1, 200_000)).await;
    drop(store);
    let again = open(&FileStorage::at(&folder)).await.expect("a store");
    let value = again.get(&format!("large/{:06}", next.seq)).await.expect("a value").value;
    assert_eq!(value.map(|value| value.len()), Some(100_000));
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(shell) = private_shell() else { return };
    let parent = tempfile::tempdir().expect("a folder");
    let mount = format!("mount -t tmpfs -o size=40m holdfast {0}", parent.path().display());
    let script = format!("{mount}; exec \"$@\"");
    let test = "file::room::fills_a_disk";
    let status = in_shell(&shell, &script, test, &parent.path().join("vault")).status();
    assert!(status.expect("a shell").success());
}

#[tokio::test]
#[ignore = "a process of its own, started by the test above"]
async fn fills_a_disk() {
    let Some(folder) = given_folder() else { return };
    let store = open(&FileStorage::at(&folder)).await.expect("a store");
    let mut head = begin(&store).await;
    for _ in 0..60 {
        head = write(&store, &head, &batch(head.seq + 1)).await;
    }
    // First by itself: growth is refused while there is still room for what does not grow.
    let (head, _, outcome) = fill(&store, head, 300_000).await;
    println!("by itself: {outcome:?}");
    assert!(matches!(outcome, Commit::Refused(StorageError::Full { .. })), "{outcome:?}");
    let head = write(&store, &head, &[]).await;
    assert_whole_but_for_gaps(&store, &head).await;

    // Then to the last byte, by somebody else: a batch that does not grow the data is let through, and finds no room for
    // the pages that it copies.
    let ballast = format!("{folder}/../ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file");
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    drop(file);
    let keys = store.list("large/", None, 1000).await.expect("keys").keys;
    let again = |key: &String| Op::Put { key: key.clone(), value: Bytes::from(vec![b'y'; 300_000]) };
    let rewritten: Vec<Op> = keys.iter().map(again).collect();
    let (outcome, rewriting) = commit(&store, &head, &rewritten).await;
    println!("all {} values again, without a free byte: {outcome:?}", keys.len());
    let is_told = matches!(outcome, Commit::Refused(StorageError::Full { .. }) | Commit::Unknown { .. });
    assert!(is_told, "{outcome:?}");
    let found = store.get(&keys[0]).await;
    println!("a read then: {:?}", found.as_ref().map(|found| found.head.seq));
    if let Ok(found) = found {
        assert_eq!((found.head, found.value.map(|value| value[0])), (head.clone(), Some(b'x')));
    }

    std::fs::remove_file(&ballast).expect("a file to remove");
    let deleted: Vec<Op> =
        keys.iter().take(keys.len() * 3 / 4).map(|key| Op::Delete { key: key.clone() }).collect();
    let head = match outcome {
        // It is certain that nothing of it is there: something else may be next.
        Commit::Refused(_) => settle(&store, &head, next_head(&head), &deleted).await,
        _ => settle(&store, &head, rewriting, &rewritten).await,
    };
    let head = settle(&store, &head, next_head(&head), &batch(head.seq + 1)).await;
    assert_whole_but_for_gaps(&store, &head).await;
    drop(store);
    let again = open(&FileStorage::at(&folder)).await.expect("a store");
    assert_eq!(head_of(&again).await, Some(head));
}

/// Sends a batch until it is stored: a store that could not be opened again is left alone for a second.
async fn settle(store: &FileBackend, head: &Head, next: Head, ops: &[Op]) -> Head {
    for _ in 0..100 {
        match store.commit(Some(head), &next, ops).await {
            Commit::Committed => return next,
            Commit::Fenced { current } if current.as_ref() == Some(&next) => return next,
            Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(100)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("it does not work although there is room");
}

/// The store is at `head`, reads, and its journal has no gap.
async fn assert_whole_but_for_gaps(store: &FileBackend, head: &Head) {
    use holdfast::vault::physical::JournalSource;
    assert_eq!(head_of(store).await.as_ref(), Some(head));
    let page = store.page(1, 10_000).await.expect("a journal");
    let numbers: Vec<u64> = page.records.iter().map(|record| record.head.seq).collect();
    assert_eq!(numbers, (1..=head.seq).collect::<Vec<_>>());
    for key in store.list("", None, 10_000).await.expect("keys").keys {
        let value = store.get(&key).await.expect("a value").value;
        assert!(value.is_some(), "{key}");
    }
}
