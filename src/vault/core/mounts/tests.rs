//! Tests of the mount table and its routes.

use std::collections::BTreeMap;

use super::change::{MountSpec, add, clean, remove, rename};
use super::router::Router;
use super::table::{MountClass, MountTable, new_entry};
use crate::base::random::SeededRandom;
use crate::vault::logical::LogicalError;

fn table(paths: &[(MountClass, &str)]) -> MountTable {
    let random = SeededRandom::new(1);
    let entries =
        paths.iter().map(|(class, path)| new_entry(&random, *class, path, "kv", BTreeMap::new())).collect();
    MountTable { entries }
}

#[test]
fn the_longest_mount_serves_a_path() {
    use MountClass::{Auth, Secret};
    let table = table(&[
        (Secret, "secret/"),
        (Secret, "team/a/"),
        (Secret, "sys/"),
        (Auth, "token/"),
        (Auth, "a/b/"),
    ]);
    let router = Router::new(table, &BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new());
    for (path, expected) in [
        ("secret/x/y", Some(("secret/", "x/y"))),
        ("secret/", Some(("secret/", ""))),
        ("secret", Some(("secret/", ""))),
        ("secret/http://test.com", Some(("secret/", "http://test.com"))),
        ("secrets/x", None),
        ("team/a/x", Some(("team/a/", "x"))),
        ("team/b", None),
        ("auth/token/create", Some(("auth/token/", "create"))),
        ("auth/a/b/login", Some(("auth/a/b/", "login"))),
        ("auth/a", None),
        ("token/create", None),
        ("", None),
        ("/", None),
    ] {
        let found = router.route(path).map(|(mounted, rest)| (mounted.entry.route(), rest));
        assert_eq!(found, expected.map(|(route, rest)| (route.to_owned(), rest)), "{path}");
    }
}

#[test]
fn changes_keep_what_they_do_not_name() {
    let random = SeededRandom::new(2);
    let base = table(&[(MountClass::Secret, "secret/"), (MountClass::Auth, "userpass/")]);
    let spec = MountSpec { kind: "kv".to_owned(), description: "mine".to_owned(), ..MountSpec::default() };
    let (more, entry) = add(&base, &random, MountClass::Secret, "/team/kv", spec.clone()).expect("added");
    assert_eq!((entry.path.as_str(), entry.description.as_str()), ("team/kv/", "mine"));
    assert!(entry.accessor.starts_with("kv_") && entry.accessor.len() == 11);
    // The same path is free in the other table.
    let (more, entry) = add(&more, &random, MountClass::Auth, "team/kv/", spec).expect("added");
    assert!(entry.accessor.starts_with("auth_kv_"));
    let moved = rename(&more, MountClass::Secret, "team/kv", "new").expect("moved");
    assert_eq!(
        moved.get(MountClass::Secret, "new/").map(|e| &e.uuid),
        more.get(MountClass::Secret, "team/kv/").map(|e| &e.uuid)
    );
    assert!(moved.get(MountClass::Auth, "team/kv/").is_some());
    let (rest, gone) = remove(&moved, MountClass::Secret, "new").expect("allowed").expect("there");
    assert_eq!((rest.entries.len(), gone.path.as_str()), (3, "new/"));
    assert_eq!(remove(&rest, MountClass::Secret, "new"), Ok(None));
    let error = rename(&rest, MountClass::Secret, "none", "x").expect_err("refused");
    assert_eq!(error.to_string(), "no matching mount at \"none/\"");
    let error = rename(&more, MountClass::Secret, "team/kv", "secret/deep").expect_err("refused");
    assert_eq!(error.to_string(), "path is already in use at secret/");
}

#[test]
fn reserved_and_impossible_paths_are_refused() {
    let base = table(&[]);
    for path in ["sys", "sys/x", "identity/", "cubbyhole", "auth/x", "audit"] {
        assert_eq!(remove(&base, MountClass::Secret, path), Err(LogicalError::Denied), "{path}");
    }
    assert_eq!(remove(&base, MountClass::Auth, "token/"), Err(LogicalError::Denied));
    for path in ["", "/", "a//b", "a/./b", "a/../b", "a b", "a\n", "a*", "a/+/b"] {
        assert!(clean(path).is_err(), "{path:?}");
    }
    assert_eq!(clean("/a/b/"), Ok("a/b/".to_owned()));
}
