//! Folders that are made, and folders that are refused with a text that says what to do.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use holdfast::config::FileStorage;
use holdfast::vault::physical::file::open;
use holdfast::vault::physical::{Backend, Commit, FeedEvent};

use super::process::{given_folder, in_shell, private_shell};
use super::writer::{batch, begin, commit, head_of, write};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a path").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

async fn refusal(path: &Path, parent: &Path) -> String {
    let error = open(&FileStorage::at(path)).await.err().expect("a refusal");
    error.to_string().replace(&parent.display().to_string(), "/parent")
}

#[tokio::test]
async fn what_is_made_is_for_its_user_alone() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("deep/vault");
    let store = open(&FileStorage::at(&folder)).await.expect("a store");
    begin(&store).await;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_folder_that_will_not_do_is_refused_with_what_to_do() {
    let parent = tempfile::tempdir().expect("a folder");
    let at = |name: &str| parent.path().join(name);
    let make = |name: &str| {
        std::fs::create_dir(at(name)).expect("a folder");
        set_mode(&at(name), 0o700);
        at(name)
    };
    let mut shown = String::new();
    let mut note = |what: &str, text: String| shown.push_str(&format!("--- {what}\n{text}\n\n"));

    std::fs::write(at("file"), "").expect("a file");
    note("a file", refusal(&at("file"), parent.path()).await);
    note("in a file", refusal(&at("file/vault"), parent.path()).await);
    let open_to_all = make("open");
    set_mode(&open_to_all, 0o777);
    note("everybody writes", refusal(&open_to_all, parent.path()).await);
    for (what, entry) in [("core", "core/x"), ("logical", "logical/x"), ("value", "_x/../_leases")] {
        let folder = make(what);
        std::fs::create_dir_all(folder.join(entry).parent().expect("a parent")).expect("a folder");
        if what == "value" {
            std::fs::remove_dir(folder.join("_x")).expect("an empty folder");
            std::fs::write(folder.join("_leases"), "{}").expect("a file");
        }
        note(&format!("Vault's own layout: {what}"), refusal(&folder, parent.path()).await);
    }
    let damaged = make("damaged");
    std::fs::write(damaged.join("vault.redb"), "not a store, but more than nothing").expect("a file");
    note("not a store", refusal(&damaged, parent.path()).await);
    let empty = make("empty");
    std::fs::write(empty.join("vault.redb"), "").expect("a file");
    note("an empty store", refusal(&empty, parent.path()).await);
    let used = make("used");
    let first = open(&FileStorage::at(&used)).await.expect("a store");
    note("in use", refusal(&used, parent.path()).await);
    drop(first);
    open(&FileStorage::at(&used)).await.expect("free again");
    insta::assert_snapshot!("file_refusals", shown);
}

#[tokio::test]
async fn folders_of_other_users_and_groups_are_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can give a folder to somebody else");
        return;
    }
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("vault");
    std::fs::create_dir(&folder).expect("a folder");
    chown(&folder, Some(54_321), None).expect("another owner");
    set_mode(&folder, 0o700);
    let text = refusal(&folder, parent.path()).await;
    assert_eq!(
        text,
        "path /parent/vault: belongs to user 54321 (mode 0700); give it to the user of this server, with mode 0700"
    );
    chown(&folder, Some(0), Some(54_321)).expect("another group");
    set_mode(&folder, 0o2770);
    let text = refusal(&folder, parent.path()).await;
    assert_eq!(
        text,
        "path /parent/vault: can be written by group 54321 (mode 2770); give it to the user of this server, with mode 0700"
    );
    // As Kubernetes gives a volume to a pod: to a group of its process.
    chown(&folder, Some(0), Some(rustix::process::getegid().as_raw())).expect("our group");
    set_mode(&folder, 0o2770);
    open(&FileStorage::at(&folder)).await.expect("a store");
}

#[test]
fn a_read_only_folder_is_refused() {
    let Some(shell) = private_shell() else { return };
    let parent = tempfile::tempdir().expect("a folder");
    let mount = format!("mount -t tmpfs -o ro,mode=0700 holdfast {}", parent.path().display());
    let script = format!("{mount}; exec \"$@\"");
    let status = in_shell(&shell, &script, "file::folder::meets_a_read_only_folder", parent.path()).status();
    assert!(status.expect("a shell").success());
}

#[tokio::test]
#[ignore = "a process of its own, started by the test above"]
async fn meets_a_read_only_folder() {
    let Some(folder) = given_folder() else { return };
    let folder = Path::new(&folder);
    let own = "give it to the user of this server, with mode 0700";
    assert_eq!(
        refusal(folder, folder).await,
        format!(
            "path /parent: cannot be written: Read-only file system (os error 30); {own}, on a file system that is not read-only"
        )
    );
    assert_eq!(
        refusal(&folder.join("new"), folder).await,
        format!("path /parent/new: cannot be made: Read-only file system (os error 30); make it and {own}")
    );
}

#[tokio::test]
async fn a_crash_while_the_store_was_made_leaves_nothing_in_the_way() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("vault");
    drop(open(&FileStorage::at(&folder)).await.expect("a store"));
    std::fs::remove_file(folder.join("vault.redb")).expect("a file");
    std::fs::write(folder.join("vault.new"), "half a store").expect("a file");
    let store = open(&FileStorage::at(&folder)).await.expect("a store");
    assert_eq!(head_of(&store).await, None);
    assert!(!folder.join("vault.new").exists());
}

#[tokio::test]
async fn a_file_that_was_taken_away_acknowledges_nothing() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("vault");
    let store = open(&FileStorage::at(&folder)).await.expect("a store");
    let head = begin(&store).await;
    let old = write(&store, &head, &batch(2)).await;
    let copy = std::fs::read(folder.join("vault.redb")).expect("a file");
    let head = write(&store, &old, &batch(3)).await;
    let mut feed = store.follow(Some(head.clone())).await.expect("a feed");

    std::fs::rename(folder.join("vault.redb"), folder.join("elsewhere")).expect("a file");
    let outcome = commit(&store, &head, &batch(4)).await.0;
    assert!(matches!(outcome, Commit::Unknown { .. }), "{outcome:?}");
    assert!(store.check().await.is_err(), "it is gone");

    // An older copy in its place is found out by its head.
    std::fs::write(folder.join("vault.redb"), copy).expect("a file");
    let mut checked = store.check().await;
    for _ in 0..100 {
        if checked.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        checked = store.check().await;
    }
    assert_eq!(checked, Ok(Some(old.clone())));
    let event = loop {
        if let Ok(event) = feed.next().await {
            break event;
        }
    };
    assert_eq!(event, FeedEvent::Reset { head: Some(old.clone()) });
    let outcome = commit(&store, &head, &batch(4)).await.0;
    assert_eq!(outcome, Commit::Fenced { current: Some(old) });
}
