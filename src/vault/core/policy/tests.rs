//! Tests of policies: parsing as tables, the decision as tables and against a plain restatement of the rules.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::acl::{Acl, Ask};
use super::model::Policy;
use super::parse::parse;
use crate::vault::logical::Operation::{self, Create, Delete, List, Patch, Read, Update};

fn acl(texts: &[&str]) -> Acl {
    let policies: Vec<Arc<Policy>> =
        texts.iter().map(|text| Arc::new(parse(text).expect("policy"))).collect();
    Acl::new(&policies)
}

fn allowed(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.decide(Ask { operation, path, data: &Map::new(), wrap_ttl_seconds: None }).allowed
}

fn rule(path: &str, capabilities: &str) -> String {
    format!("path \"{path}\" {{ capabilities = [{capabilities}] }}\n")
}

#[test]
fn both_languages_say_the_same() {
    let native = r#"
        # comments
        name = "ignored"
        path "/secret/*" { capabilities = ["read", "list"] comment = "x" }
        path "a" { policy = "write" }
        path "b" {
            capabilities = ["create"]
            allowed_parameters = { "Name" = ["x", "y*"], "*" = [] }
            denied_parameters = { "bad" = [] }
            required_parameters = ["Name"]
            min_wrapping_ttl = "1m"
            max_wrapping_ttl = 3600
        }
    "#;
    let json = r#"{"path": {
        "secret/*": {"capabilities": ["read", "list"]},
        "a": {"capabilities": ["create", "read", "update", "delete", "list"]},
        "b": {"capabilities": ["create"], "allowed_parameters": {"name": ["x", "y*"], "*": []},
              "denied_parameters": {"bad": []}, "required_parameters": ["name"],
              "min_wrapping_ttl": 60, "max_wrapping_ttl": "1h"}
    }}"#;
    assert_eq!(parse(native).expect("native"), parse(json).expect("json"));
    assert_eq!(parse("").expect("empty"), Policy::default());
}

#[test]
fn what_is_no_policy_is_refused_with_its_reason() {
    let cases = [
        ("path \"a\" { capabilities = [\"fly\"] }", "invalid capability \"fly\""),
        ("path \"a\" { capability = [\"read\"] }", "invalid key \"capability\""),
        ("pth \"a\" { }", "invalid key \"pth\""),
        ("path \"a/+*\" { capabilities = [\"read\"] }", "invalid use of wildcards"),
        ("path \"a\" { policy = \"all\" }", "policy must be deny, read, write or sudo"),
        ("path \"a\" { capabilities = \"read\" }", "capabilities must be a list"),
        ("path \"a\" { min_wrapping_ttl = \"soon\" }", "min_wrapping_ttl must be a duration"),
        ("path \"a\" { min_wrapping_ttl = 9 max_wrapping_ttl = 3 }", "max_wrapping_ttl cannot be less"),
        ("path \"a\" {", "at line"),
    ];
    for (text, reason) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with("failed to parse policy: ") && error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn the_most_specific_rule_decides_alone() {
    // Rules, path, whether reading it is allowed.
    type Case<'a> = (&'a [(&'a str, bool)], &'a str, bool);
    let cases: &[Case<'_>] = &[
        (&[("secret/a", true)], "secret/a", true),
        (&[("secret/a", true)], "secret/ab", false),
        (&[("secret/*", true)], "secret/", true),
        (&[("secret/*", true)], "secret", false),
        (&[("secret/ab*", true)], "secret/abc/d", true),
        (&[("*", true)], "anything/at/all", true),
        (&[("secret/*", true), ("secret/a", false)], "secret/a", false),
        (&[("secret/*", false), ("secret/a", true)], "secret/a", true),
        (&[("secret/*", true), ("secret/a/*", false)], "secret/a/b", false),
        (&[("secret/*", true), ("secret/a/*", false)], "secret/ab", true),
        (&[("secret/+/c", true)], "secret/b/c", true),
        (&[("secret/+/c", true)], "secret/b/d/c", false),
        (&[("secret/+", true)], "secret/a", true),
        (&[("secret/+", true)], "secret/a/b", false),
        (&[("secret/+/*", true)], "secret/a/b/c", true),
        (&[("secret/+/*", true)], "secret/a", false),
        (&[("+/+", true)], "a/b", true),
        (&[("secret/+/te*", true)], "secret/a/team/x", true),
        // The later first wildcard wins.
        (&[("+/a/b", false), ("secret/+/b", true)], "secret/a/b", true),
        // Then no trailing glob, then fewer plus segments, then the longer one.
        (&[("secret/*", true), ("secret/+", false)], "secret/a", false),
        (&[("secret/+/+", false), ("secret/+/b", true)], "secret/a/b", true),
        (&[("secret/+/b*", false), ("secret/+/*", true)], "secret/a/bc", false),
        // A template that cannot be filled in grants nothing.
        (&[("id/{{identity.entity.id}}", true)], "id/{{identity.entity.id}}", false),
    ];
    for (rules, path, expected) in cases {
        let text: String = rules
            .iter()
            .map(|(path, read)| rule(path, if *read { "\"read\"" } else { "\"deny\"" }))
            .collect();
        assert_eq!(allowed(&acl(&[&text]), Read, path), *expected, "{rules:?} on {path}");
    }
}

#[test]
fn lists_are_judged_with_and_without_their_slash() {
    for (pattern, capability, expected) in [
        ("secret/a/", "\"list\"", true),
        ("secret/a", "\"list\"", true),
        ("secret/*", "\"list\"", true),
        ("secret/+", "\"list\"", true),
        ("secret/+/", "\"list\"", true),
        ("secret/b", "\"list\"", false),
        ("secret/a/", "\"read\"", false),
    ] {
        assert_eq!(allowed(&acl(&[&rule(pattern, capability)]), List, "secret/a/"), expected, "{pattern}");
    }
    let shut = format!("{}{}", rule("secret/*", "\"list\""), rule("secret/+", "\"deny\""));
    assert!(!allowed(&acl(&[&shut]), List, "secret/a/"), "a wildcard deny also stops a list");
    let shut = format!("{}{}", rule("secret/*", "\"list\""), rule("secret/a", "\"deny\""));
    assert!(!allowed(&acl(&[&shut]), List, "secret/a/"));
    assert!(
        !allowed(&acl(&[&rule("secret/a", "\"read\"")]), Read, "secret/a/"),
        "reads are judged as they are"
    );
}

#[test]
fn policies_join_on_the_same_path_and_deny_wins() {
    let read = rule("a", "\"read\"");
    let write = rule("a", "\"update\", \"create\", \"patch\", \"delete\", \"sudo\"");
    let deny = rule("a", "\"deny\"");
    let both = acl(&[&read, &write]);
    for operation in [Read, Update, Create, Patch, Delete] {
        assert!(allowed(&both, operation, "a"), "{operation:?}");
        assert!(!allowed(&acl(&[&read, &deny, &write]), operation, "a"), "{operation:?}");
    }
    assert!(!allowed(&both, List, "a"));
    assert_eq!(both.capabilities("a"), ["sudo", "read", "update", "delete", "create", "patch"]);
    assert_eq!(acl(&[&read, &deny]).capabilities("a"), ["deny"]);
    assert_eq!(acl(&[&read]).capabilities("b"), ["deny"]);
    assert_eq!(Acl::root().capabilities("a"), ["root"]);
    let root =
        Acl::root().decide(Ask { operation: Delete, path: "x", data: &Map::new(), wrap_ttl_seconds: None });
    assert!(root.allowed && root.is_root && root.has_sudo);
}

#[test]
fn parameters_are_judged_on_reads_and_writes() {
    let check = |members: &str, data: Value| {
        let text = format!("path \"a\" {{ capabilities = [\"update\", \"delete\"] {members} }}");
        let data = data.as_object().cloned().expect("object");
        acl(&[&text])
            .decide(Ask { operation: Update, path: "a", data: &data, wrap_ttl_seconds: None })
            .allowed
    };
    let cases = [
        ("required_parameters = [\"n\"]", json!({}), false),
        ("required_parameters = [\"n\"]", json!({"N": 1}), true),
        ("allowed_parameters = { \"n\" = [] }", json!({"n": 1}), true),
        ("allowed_parameters = { \"n\" = [] }", json!({"n": 1, "m": 1}), false),
        ("allowed_parameters = { \"n\" = [] }", json!({}), true),
        ("allowed_parameters = { \"n\" = [1, \"x*\"] }", json!({"n": 1}), true),
        ("allowed_parameters = { \"n\" = [1, \"x*\"] }", json!({"n": "xyz"}), true),
        ("allowed_parameters = { \"n\" = [1, \"x*\"] }", json!({"n": "y"}), false),
        ("allowed_parameters = { \"n\" = [\"x\"] \"*\" = [] }", json!({"m": "y"}), true),
        ("allowed_parameters = { \"n\" = [\"x\"] \"*\" = [] }", json!({"n": "y"}), false),
        ("denied_parameters = { \"n\" = [] }", json!({"n": 1}), false),
        ("denied_parameters = { \"n\" = [\"*x\"] }", json!({"n": "ax"}), false),
        ("denied_parameters = { \"n\" = [\"*x\"] }", json!({"n": "xa"}), true),
        ("denied_parameters = { \"n\" = [\"*x*\"] }", json!({"n": "axa"}), false),
        ("denied_parameters = { \"*\" = [] }", json!({"n": 1}), false),
        ("denied_parameters = { \"*\" = [] }", json!({}), true),
        ("denied_parameters = { \"n\" = [] } allowed_parameters = { \"*\" = [] }", json!({"n": 1}), false),
    ];
    for (members, data, expected) in cases {
        assert_eq!(check(members, data.clone()), expected, "{members} {data}");
    }
}

#[test]
fn merged_parameters_are_the_wider_of_both() {
    let one = "path \"a\" { capabilities = [\"update\"] allowed_parameters = { \"n\" = [1] } }";
    let two = "path \"a\" { capabilities = [\"update\"] allowed_parameters = { \"n\" = [2], \"m\" = [] } }";
    let any = "path \"a\" { capabilities = [\"update\"] allowed_parameters = { \"n\" = [] } }";
    let check = |texts: &[&str], data: Value| {
        let data = data.as_object().cloned().expect("object");
        acl(texts).decide(Ask { operation: Update, path: "a", data: &data, wrap_ttl_seconds: None }).allowed
    };
    assert!(check(&[one, two], json!({"n": 1})) && check(&[one, two], json!({"n": 2, "m": 5})));
    assert!(!check(&[one, two], json!({"n": 3})));
    assert!(check(&[one, any], json!({"n": 3})) && check(&[any, one], json!({"n": 3})));
}

#[test]
fn wrapping_times_are_bounds() {
    let text = "path \"a\" { capabilities = [\"read\"] min_wrapping_ttl = 10 max_wrapping_ttl = 20 }";
    let acl = acl(&[text]);
    for (ttl, expected) in
        [(None, false), (Some(9), false), (Some(10), true), (Some(20), true), (Some(21), false)]
    {
        let ask = Ask { operation: Read, path: "a", data: &Map::new(), wrap_ttl_seconds: ttl };
        assert_eq!(acl.decide(ask).allowed, expected, "{ttl:?}");
    }
}

#[test]
fn access_below_a_mount_is_seen() {
    for (pattern, expected) in [
        ("secret/a/b", true),
        ("secret/*", true),
        ("sec*", true),
        ("*", true),
        ("+/a", true),
        ("secret/+/x", true),
        ("other/*", false),
        ("secret", false),
        ("other/+", false),
        ("+", false),
    ] {
        assert_eq!(acl(&[&rule(pattern, "\"read\"")]).has_access_below("secret/"), expected, "{pattern}");
    }
    assert!(!acl(&[&rule("secret/*", "\"deny\"")]).has_access_below("secret/"));
}

#[test]
fn the_default_policy_parses_and_grants_what_it_says() {
    let acl = acl(&[super::builtin::DEFAULT_POLICY]);
    assert!(allowed(&acl, Read, "auth/token/lookup-self"));
    assert!(allowed(&acl, Create, "cubbyhole/a/b") && allowed(&acl, List, "cubbyhole/"));
    assert!(allowed(&acl, Update, "sys/tools/hash/sha2-256"));
    assert!(!allowed(&acl, Read, "secret/a") && !allowed(&acl, Update, "auth/token/create"));
    assert_eq!(super::builtin::response_wrapping().rules.len(), 2);
}

/// Whether a pattern matches, restated character by character of the rules.
fn matches_plainly(pattern: &[&str], path: &[&str], glob: bool) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([last], [given, ..]) if glob => *last == "+" || given.starts_with(last),
        ([], _) | (_, []) => false,
        ([wanted, pattern @ ..], [given, path @ ..]) => {
            (*wanted == "+" || wanted == given) && matches_plainly(pattern, path, glob)
        }
    }
}

proptest! {
    #[test]
    fn a_single_rule_grants_exactly_what_it_matches(
        pattern in proptest::collection::vec(prop_oneof!["[ab]{1,2}", Just("+".to_owned())], 1..4),
        glob in any::<bool>(),
        path in proptest::collection::vec("[ab]{1,3}", 1..5),
    ) {
        let ends_in_plus = pattern.last().is_some_and(|last| last == "+");
        let glob = glob && !ends_in_plus;
        let text = format!("{}{}", pattern.join("/"), if glob { "*" } else { "" });
        let segments: Vec<&str> = pattern.iter().map(String::as_str).collect();
        let given: Vec<&str> = path.iter().map(String::as_str).collect();
        let has_plus = segments.contains(&"+");
        let joined = path.join("/");
        let expected = if has_plus {
            matches_plainly(&segments, &given, glob)
        } else if glob {
            joined.starts_with(&pattern.join("/"))
        } else {
            joined == pattern.join("/")
        };
        prop_assert_eq!(allowed(&acl(&[&rule(&text, "\"read\"")]), Read, &joined), expected, "{} on {}", text, joined);
    }

    #[test]
    fn the_longest_of_many_prefixes_decides(
        prefixes in proptest::collection::btree_set("[ab/]{0,5}", 1..12), path in "[ab/]{1,8}", deny in any::<u16>(),
    ) {
        let prefixes: Vec<String> = prefixes.into_iter().collect();
        let is_denied = |at: usize| deny >> (at % 16) & 1 == 1;
        let text: String = prefixes
            .iter()
            .enumerate()
            .map(|(at, prefix)| rule(&format!("{prefix}*"), if is_denied(at) { "\"deny\"" } else { "\"read\"" }))
            .collect();
        // A leading slash of a rule is dropped, so two rules may be one.
        let key = |prefix: &str| prefix.strip_prefix('/').unwrap_or(prefix).to_owned();
        let given = path.strip_prefix('/').unwrap_or(&path);
        let longest = prefixes.iter().map(|p| key(p)).filter(|p| given.starts_with(p.as_str())).max_by_key(String::len);
        let expected = longest.is_some_and(|longest| {
            prefixes.iter().enumerate().filter(|(_, p)| key(p) == longest).all(|(at, _)| !is_denied(at))
        });
        prop_assert_eq!(allowed(&acl(&[&text]), Read, &path), expected);
    }

    #[test]
    fn a_deny_on_the_same_path_is_never_outvoted(order in any::<bool>(), path in "[ab]{1,3}(/[ab]{1,2})?") {
        let (read, deny) = (rule(&path, "\"read\", \"list\""), rule(&path, "\"deny\""));
        let acl = if order { acl(&[&read, &deny]) } else { acl(&[&deny, &read]) };
        let listed = path.clone() + "/";
        prop_assert!(!allowed(&acl, Read, &path) && !allowed(&acl, List, &listed));
    }
}
