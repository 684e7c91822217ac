//! Folders that are made, and folders that are refused with a text that says what to do.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use holdfast::config::FileStorage;
use holdfast::vault::physical::file::open;
use holdfast::vault::physical::{Backend, Commit, FeedEvent};

use super::process::{bound_shell, given_folder, in_shell, private_shell};
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
    let lost = make("lost");
    drop(open(&FileStorage::at(&lost)).await.expect("a store"));
    let mut bytes = std::fs::read(lost.join("vault.redb")).expect("a file");
    bytes[4096..].fill(0);
    std::fs::write(lost.join("vault.redb"), bytes).expect("a file");
    note("all pages but the first are lost", refusal(&lost, parent.path()).await);
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
    let mut shown = refusal(&folder, parent.path()).await;
    chown(&folder, Some(0), Some(54_321)).expect("another group");
    set_mode(&folder, 0o2770);
    shown.push_str("\n\n");
    shown.push_str(&refusal(&folder, parent.path()).await);
    insta::assert_snapshot!("owners", shown);
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
    let (itself, new) = (refusal(folder, folder).await, refusal(&folder.join("new"), folder).await);
    insta::assert_snapshot!("read_only", format!("{itself}\n\n{new}"));
}

#[test]
fn folders_without_the_rights_that_are_needed_are_refused() {
    let Some(shell) = bound_shell() else { return };
    let parent = tempfile::tempdir().expect("a folder");
    let test = "file::folder::meets_folders_without_rights";
    let status = in_shell(&shell, "exec \"$@\"", test, parent.path()).status();
    assert!(status.expect("a shell").success());
}

#[tokio::test]
#[ignore = "a process of its own, started by the test above"]
async fn meets_folders_without_rights() {
    let Some(parent) = given_folder() else { return };
    let parent = Path::new(&parent);
    let mut shown = String::new();
    for (what, mode, below) in [
        ("it cannot be entered", 0o600, Some("vault")),
        ("nothing can be made in the folder above", 0o500, Some("vault")),
        ("its files cannot be told", 0o300, None),
        ("nothing can be made in it", 0o500, None),
    ] {
        let folder = parent.join("folder");
        std::fs::create_dir(&folder).expect("a folder");
        set_mode(&folder, mode);
        let said = refusal(&below.map_or_else(|| folder.clone(), |name| folder.join(name)), parent).await;
        set_mode(&folder, 0o700);
        std::fs::remove_dir(&folder).expect("an empty folder");
        shown.push_str(&format!("--- {what}\n{said}\n\n"));
    }
    let folder = parent.join("sealed");
    drop(open(&FileStorage::at(&folder)).await.expect("a store"));
    set_mode(&folder.join("vault.redb"), 0);
    shown.push_str(&format!("--- its data cannot be read\n{}\n", refusal(&folder, parent).await));
    insta::assert_snapshot!("rights", shown);
}

#[test]
fn a_disk_without_room_is_refused() {
    let Some(shell) = private_shell() else { return };
    let parent = tempfile::tempdir().expect("a folder");
    let mount = format!("mount -t tmpfs -o size=16k holdfast {}", parent.path().display());
    let script = format!("{mount}; exec \"$@\"");
    let status = in_shell(&shell, &script, "file::folder::meets_a_full_disk", parent.path()).status();
    assert!(status.expect("a shell").success());
}

#[tokio::test]
#[ignore = "a process of its own, started by the test above"]
async fn meets_a_full_disk() {
    let Some(parent) = given_folder() else { return };
    let parent = Path::new(&parent);
    insta::assert_snapshot!("full_disk", refusal(&parent.join("vault"), parent).await);
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
