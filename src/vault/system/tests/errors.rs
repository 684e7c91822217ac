//! Each error that `sys/` and `auth/token/` can produce, with input that produces it.

use serde_json::{Value, json};

use super::{Words, vault};
use crate::base::secret::SecretString;
use crate::vault::core::testing::Vault;
use crate::vault::logical::Operation::{self, Delete, List, Patch, Read, Update};
use crate::vault::logical::testing::{error_texts, is_instance, untried};

type Case = (Operation, &'static str, Value, &'static str);

/// Refused with 400 even for a root token.
fn mount_cases() -> Vec<Case> {
    vec![
        (Update, "sys/mounts/x", json!({}), "backend type must be specified as a string"),
        (Update, "sys/auth/x", json!({}), "backend type must be specified as a string"),
        (
            Update,
            "sys/mounts/x",
            json!({"type": "plugin"}),
            "plugin_name must be provided for plugin backend",
        ),
        (
            Update,
            "sys/mounts/x",
            json!({"type": "kv", "plugin_version": "v9"}),
            "plugin_version \"v9\" is not available: all engines are built in",
        ),
        (Update, "sys/mounts/x", json!({"type": "nonesuch"}), "plugin not found in the catalog: nonesuch"),
        (
            Update,
            "sys/auth/userpass",
            json!({"type": "userpass"}),
            "plugin not found in the catalog: userpass",
        ),
        (Update, "sys/mounts/secret", json!({"type": "kv"}), "path is already in use at secret/"),
        (Update, "sys/mounts/secret/inner", json!({"type": "kv"}), "path is already in use at secret/"),
        (
            Update,
            "sys/mounts/x",
            json!({"type": "cubbyhole"}),
            "mount type of \"cubbyhole\" is not mountable",
        ),
        (
            Update,
            "sys/mounts/x",
            json!({"type": "kv", "options": {"version": "3"}}),
            "invalid kv version \"3\": must be \"1\" or \"2\"",
        ),
        (
            Update,
            "sys/mounts/x",
            json!({"type": "kv", "config": {"default_lease_ttl": "2h", "max_lease_ttl": "1h"}}),
            "given default lease TTL greater than given max lease TTL",
        ),
        (
            Update,
            "sys/mounts/secret/tune",
            json!({"default_lease_ttl": "769h"}),
            "given default lease TTL greater than system max lease TTL of 2764800",
        ),
        (
            Update,
            "sys/mounts/secret/tune",
            json!({"max_lease_ttl": "soon"}),
            "Field validation failed: error converting input for field \"max_lease_ttl\": expected a duration",
        ),
        (
            Update,
            "sys/mounts/secret/tune",
            json!({"listing_visibility": "some"}),
            "invalid listing visibility type \"some\": must be \"\", \"hidden\" or \"unauth\"",
        ),
        (
            Update,
            "sys/auth/token/tune",
            json!({"token_type": "batch"}),
            "invalid value for 'token_type': \"batch\"",
        ),
    ]
}

fn tune_and_remount_cases() -> Vec<Case> {
    vec![
        (Read, "sys/mounts/none", json!({}), "No secret engine mount at none/"),
        (Read, "sys/auth/none", json!({}), "No auth engine at none/"),
        (Read, "sys/mounts/none/tune", json!({}), "cannot fetch sysview for path \"none/\""),
        (Update, "sys/mounts/sys/tune", json!({"description": "x"}), "cannot tune \"sys/\""),
        (
            Update,
            "sys/mounts/old/tune",
            json!({"options": {"version": "2"}}),
            "cannot change the version of a kv mount from \"1\" to \"2\": make a new mount and copy the data",
        ),
        (
            Update,
            "sys/remount",
            json!({"from": "old"}),
            "both 'from' and 'to' path must be specified as a string",
        ),
        (
            Update,
            "sys/remount",
            json!({"from": "old", "to": "auth/new"}),
            "cannot remount between a secrets engine and an auth method",
        ),
        (Update, "sys/remount", json!({"from": "none", "to": "new"}), "no matching mount at \"none/\""),
        (Update, "sys/remount", json!({"from": "old", "to": "secret"}), "path is already in use at secret/"),
    ]
}

fn system_cases() -> Vec<Case> {
    let many: Vec<String> = (0..1001).map(|n| format!("p{n}")).collect();
    vec![
        (Update, "sys/policies/acl", json!({"policy": "x"}), "missing policy name"),
        (Update, "sys/policies/acl/x", json!({}), "'policy' parameter not supplied or empty"),
        (
            Update,
            "sys/policies/acl/root",
            json!({"policy": "path \"x\" {}"}),
            "cannot update \"root\" policy",
        ),
        (Delete, "sys/policies/acl/default", json!({}), "cannot delete \"default\" policy"),
        (Update, "sys/capabilities-self", json!({}), "paths must be supplied"),
        (Update, "sys/capabilities-self", json!({"paths": many}), "at most 1000 paths can be asked at once"),
        (Update, "sys/capabilities", json!({"path": "x"}), "missing token ID"),
        (Update, "sys/capabilities", json!({"path": "x", "token": "hvs.none"}), "invalid token"),
        (Update, "sys/capabilities-accessor", json!({"path": "x"}), "missing accessor"),
        (Update, "sys/capabilities-accessor", json!({"path": "x", "accessor": "none"}), "invalid accessor"),
        (Update, "sys/leases/lookup", json!({}), "lease_id must be specified"),
        (Update, "sys/leases/lookup", json!({"lease_id": "none"}), "invalid lease"),
        (Update, "sys/leases/renew", json!({"lease_id": "a/none"}), "lease not found"),
        (Update, "sys/tools/random", json!({"bytes": 0}), "\"bytes\" cannot be less than 1"),
        (Update, "sys/tools/random/-1", json!({}), "\"bytes\" cannot be less than 1"),
        (Update, "sys/tools/random/131073", json!({}), "\"bytes\" should be less than 131072"),
        (
            Update,
            "sys/tools/random/dice",
            json!({}),
            "unsupported entropy source \"dice\"; must be \"platform\", \"seal\", or \"all\"",
        ),
        (
            Update,
            "sys/tools/random",
            json!({"format": "octal"}),
            "unsupported encoding format \"octal\"; must be \"hex\" or \"base64\"",
        ),
        (Update, "sys/tools/hash/md5", json!({"input": ""}), "unsupported algorithm md5"),
    ]
}

fn token_cases() -> Vec<Case> {
    vec![
        (
            Update,
            "auth/token/create",
            json!({"type": "odd"}),
            "invalid 'type' value \"odd\": must be \"service\" or \"batch\"",
        ),
        (
            Update,
            "auth/token/create",
            json!({"type": "batch"}),
            "batch tokens are not supported by this version",
        ),
        (
            Update,
            "auth/token/create",
            json!({"entity_alias": "x"}),
            "'entity_alias' is not supported by this version",
        ),
        (Update, "auth/token/create/none", json!({}), "unknown role none"),
        (
            Update,
            "auth/token/create/limited",
            json!({"policies": ["c"]}),
            "token policies (c) must be subset of the role's allowed policies (a, b)",
        ),
        (
            Update,
            "auth/token/create/limited",
            json!({"policies": ["b"]}),
            "token policy \"b\" is disallowed by this role",
        ),
        (Update, "auth/token/renew", json!({}), "missing token ID"),
        (Update, "auth/token/renew", json!({"token": "hvs.none"}), "token not found"),
        (Update, "auth/token/renew-self", json!({}), "lease is not renewable"),
        (Update, "auth/token/renew-accessor", json!({"accessor": "none"}), "invalid accessor"),
        (Update, "auth/token/lookup-accessor", json!({}), "missing accessor"),
        (Update, "auth/token/lookup-accessor", json!({"accessor": "none"}), "invalid accessor"),
        (Update, "auth/token/revoke", json!({}), "missing token ID"),
        (Update, "auth/token/revoke-accessor", json!({"accessor": "none"}), "invalid accessor"),
        (Update, "auth/token/revoke-orphan", json!({"token": "hvs.none"}), "token to revoke not found"),
        (
            Update,
            "auth/token/roles/x",
            json!({"token_type": "odd"}),
            "invalid value for 'token_type': \"odd\"",
        ),
        (
            Update,
            "auth/token/roles/x",
            json!({"path_suffix": "a//b"}),
            "given role path suffix contains invalid characters; must match [\\w@-]+ segments: \"a//b\"",
        ),
        (Update, "auth/token/roles/a b", json!({}), "invalid role name \"a b\""),
        (
            Update,
            "auth/token/roles/x",
            json!({"bound_cidrs": "10.0.0.0/33"}),
            "invalid CIDR block \"10.0.0.0/33\"",
        ),
    ]
}

/// Texts that all engines share, and those of the engines without error types of their own.
fn engine_cases() -> Vec<(u16, Operation, &'static str, Value, &'static str)> {
    let create = "auth/token/create";
    vec![
        (400, Update, "old", json!({"v": 1}), "missing path"),
        (400, Update, "old/x", json!({}), "missing data fields"),
        (405, Patch, "old/x", json!({"v": 1}), "unsupported operation"),
        (400, Update, "cubbyhole", json!({"v": 1}), "missing path"),
        (400, Update, "cubbyhole/x", json!({}), "missing data fields"),
        (405, Patch, "cubbyhole/x", json!({"v": 1}), "unsupported operation"),
        (404, Read, "sys/none", json!({}), "unsupported path"),
        (400, Update, "sys/mounts/x", json!({"type": {}}), "\"type\": expected a string"),
        (400, Update, create, json!({"renewable": "maybe"}), "\"renewable\": expected a boolean"),
        (400, Read, "secret/data/a", json!({"version": "new"}), "\"version\": expected an integer"),
        (
            400,
            Update,
            create,
            json!({"num_uses": -1}),
            "\"num_uses\": expected a number that is not negative",
        ),
        (
            400,
            Update,
            create,
            json!({"period": "-1s"}),
            "\"period\": expected a duration that is not negative",
        ),
        (400, Update, create, json!({"period": "soon"}), "\"period\": expected a duration"),
        (400, Update, create, json!({"policies": [[]]}), "\"policies\": expected a list of strings"),
        (
            400,
            Update,
            "secret/delete/a",
            json!({"versions": "x"}),
            "\"versions\": expected a list of integers",
        ),
        (400, Update, "secret/data/a", json!({"data": "x"}), "\"data\": expected an object"),
        (400, Update, create, json!({"meta": {"a": []}}), "\"meta\": expected an object of strings"),
    ]
}

/// What no caller reads as an error.
const SILENT: &[(&str, &str)] = &[
    ("policy name was converted to {lower}", "a warning"),
    ("Policy \"{name}\" does not exist", "a warning"),
    ("Endpoint ignored these unrecognized parameters: [{}]", "a warning"),
    ("this request must be served by the active node", "the request is sent on"),
    ("failed to encode a record: {e}", "internal: for the log"),
    ("failed to decode a stored record at column {} ({:?})", "internal: for the log"),
    ("there are more than {LISTED_NAMES_MAX} tokens", "it takes 100,001 tokens"),
    (
        "more than {LISTED_NAMES_MAX} keys: page through them with \"after\" and \"limit\"",
        "it takes 100,001 keys; the tests of `logical::record` make them",
    ),
];

/// Refused with 400 for a token that may create tokens but has no `sudo`.
fn plain_token_cases() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"policies": ["ops"]}), "child policies must be subset of parent"),
        (json!({"id": "x"}), "root or sudo privileges required to specify token id"),
        (json!({"no_parent": true}), "root or sudo privileges required to create orphan token"),
        (json!({"period": "1h"}), "root or sudo privileges required to create periodic token"),
    ]
}

async fn refusals(vault: &Vault) -> Vec<String> {
    let root = &vault.root;
    let role = json!({"allowed_policies": "a,b", "disallowed_policies": "b"});
    vault.done(root, Update, "auth/token/roles/limited", role).await;
    let mut texts = Vec::new();
    for (operation, path, data, text) in
        [mount_cases(), tune_and_remount_cases(), system_cases(), token_cases()].concat()
    {
        assert_eq!(
            vault.refused(400, root, operation, path, data.clone()).await,
            text,
            "{operation:?} {path} {data}"
        );
        texts.push(text.to_owned());
    }
    for (status, operation, path, data, text) in engine_cases() {
        let got = vault.refused(status, root, operation, path, data.clone()).await;
        assert!(got.ends_with(text), "{operation:?} {path} {data}: {got}");
        texts.push(got);
    }
    let none = SecretString::from("");
    texts.push(vault.refused(403, &none, Read, "sys/mounts", json!({})).await);
    let may_create = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    let plain = vault.token_that_may(may_create).await;
    for (data, text) in plain_token_cases() {
        let got = vault.refused(400, &plain, Update, "auth/token/create", data.clone()).await;
        assert_eq!(got, text, "{data}");
        texts.push(text.to_owned());
    }
    let sudo =
        vault.token_that_may(r#"path "auth/token/create" { capabilities = ["update", "sudo"] }"#).await;
    texts.push(vault.refused(400, &sudo, Update, "auth/token/create", json!({"policies": ["root"]})).await);
    let limited = vault.token(root, json!({"policies": ["root"], "num_uses": 5})).await;
    texts.push(vault.refused(400, &limited, Update, "auth/token/create", json!({})).await);
    let input = json!({"input": "not base64!"});
    texts.push(vault.refused(400, root, Update, "sys/tools/hash", input).await);
    let token = vault.token(root, json!({"policies": ["default"], "ttl": "1h"})).await;
    texts.push(renew_by_lease(vault, &token).await);
    texts
}

/// What the renewal of a token by the name of its lease gives.
async fn renew_by_lease(vault: &Vault, token: &SecretString) -> String {
    for key in vault.keys("sys/token/id/").await {
        let lease = format!("auth/token/create/{}", key.rsplit('/').next().unwrap_or_default());
        let text =
            vault.refused(400, &vault.root, Update, "sys/leases/renew", json!({"lease_id": lease})).await;
        if text != "lease not found" {
            return text;
        }
    }
    panic!("no lease of {token:?}");
}

#[tokio::test]
async fn bad_input_is_refused_with_its_text() {
    let vault = vault().await;
    let mut texts = refusals(&vault).await;
    texts.extend(super::shares::refusals().await);
    let patterns = error_texts(include_str!("../error.rs"));
    let exact = patterns.iter().filter(|pattern| !texts.iter().any(|text| is_instance(text, pattern)));
    assert_eq!(exact.collect::<Vec<_>>(), [""; 0], "no case produces these");
    assert_eq!(untried(&["vault/system", "vault/logical"], &texts, SILENT), [""; 0]);
}

#[tokio::test]
async fn protected_mounts_are_not_changed() {
    let vault = vault().await;
    for path in ["sys", "cubbyhole", "identity/x", "audit"] {
        let text = vault
            .refused(403, &vault.root, Update, &format!("sys/mounts/{path}"), json!({"type": "kv"}))
            .await;
        assert_eq!(text, "permission denied", "{path}");
        vault.refused(403, &vault.root, Delete, &format!("sys/mounts/{path}"), json!({})).await;
    }
    vault.refused(403, &vault.root, Delete, "sys/auth/token", json!({})).await;
    vault.refused(403, &vault.root, Update, "sys/remount", json!({"from": "cubbyhole", "to": "x"})).await;
}

#[tokio::test]
async fn policies_that_do_not_parse_are_refused() {
    let vault = vault().await;
    let ask = json!({"policy": "path \"x\" { capabilities = [\"fly\"] }"});
    let text = vault.refused(400, &vault.root, Update, "sys/policies/acl/x", ask).await;
    assert!(text.starts_with("failed to parse policy: "), "{text}");
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_operations_405() {
    let vault = vault().await;
    for path in [
        "sys/none",
        "sys/policies/none",
        "sys/internal/ui/none",
        "sys/tools/none",
        "sys/leases/none",
        "sys/remount/x",
        "sys/generate-root/none",
        "sys/rekey/none",
    ] {
        assert_eq!(
            vault.refused(404, &vault.root, Read, path, json!({})).await,
            "unsupported path",
            "{path}"
        );
    }
    for path in ["auth/token/none", "auth/token/lookup/x", "auth/token/accessors/x"] {
        assert_eq!(
            vault.refused(404, &vault.root, Update, path, json!({})).await,
            "unsupported path",
            "{path}"
        );
    }
    for (operation, path) in [
        (Read, "sys/generate-root/update"),
        (List, "sys/rekey/init"),
        (Update, "sys/mounts"),
        (Patch, "sys/mounts/secret"),
        (Delete, "sys/mounts/secret/tune"),
        (Read, "sys/remount"),
        (Patch, "sys/policies/acl/x"),
        (Read, "sys/capabilities-self"),
        (Update, "sys/internal/ui/mounts/secret"),
        (Update, "sys/key-status"),
        (Update, "sys/ha-status"),
        (Read, "sys/rotate"),
        (Read, "sys/seal"),
        (Delete, "sys/step-down"),
        (Read, "sys/tools/random"),
        (Read, "sys/leases/lookup"),
        (Read, "auth/token/create"),
        (Delete, "auth/token/lookup-self"),
        (Read, "auth/token/renew-self"),
        (Read, "auth/token/revoke-self"),
        (Read, "auth/token/accessors"),
        (Patch, "auth/token/roles/x"),
        (Update, "auth/token/roles"),
        (List, "auth/token/lookup"),
    ] {
        let text = vault.refused(405, &vault.root, operation, path, json!({})).await;
        assert_eq!(text, "unsupported operation", "{operation:?} {path}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    let vault = vault().await;
    let token = vault.token_that_may(r#"path "secret/data/a" { capabilities = ["read"] }"#).await;
    let none = SecretString::from("");
    for (operation, path) in [
        (Read, "sys/mounts"),
        (Update, "sys/policies/acl/x"),
        (Update, "sys/seal"),
        (Update, "auth/token/create"),
        (List, "auth/token/accessors/"),
    ] {
        for token in [&token, &none] {
            let text = vault.refused(403, token, operation, path, json!({})).await;
            assert_eq!(text, "permission denied", "{operation:?} {path}");
        }
    }
    let text =
        vault.refused(403, &vault.root, Update, "auth/token/lookup", json!({"token": "hvs.none"})).await;
    assert_eq!(text, "permission denied");
}
