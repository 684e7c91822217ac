//! The compiled program: what people see, what it sends, and its exit codes.
#![allow(clippy::unwrap_used)]

mod server;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use server::{Seen, Server};

/// What a run of the program left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// The program with nothing of this process's environment.
fn holdfast(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(server: &Server, arguments: &[&str]) -> Ran {
    holdfast(
        arguments,
        &[("VAULT_ADDR", &server.address), ("VAULT_TOKEN", "hvs.t"), ("VAULT_MAX_RETRIES", "0")],
        "",
    )
}

/// A server with a versioned engine at `secret/` and one without versions at `plain/`.
fn kv_server() -> Server {
    Server::start(|request: &Seen| {
        let mount = |path: &str, version: &str| {
            json!({"data": {"path": path, "type": "kv", "options": {"version": version}}}).to_string()
        };
        let metadata = json!({"version": 3, "created_time": "2026-01-02T03:04:05Z", "destroyed": false});
        match request.line.as_str() {
            line if line.starts_with("GET /v1/sys/internal/ui/mounts/secret") => (200, mount("secret/", "2")),
            line if line.starts_with("GET /v1/sys/internal/ui/mounts/plain") => (200, mount("plain/", "1")),
            line if line.starts_with("GET /v1/sys/internal/ui/mounts/") => {
                (403, json!({"errors": ["preflight capability check returned 403"]}).to_string())
            }
            "GET /v1/secret/data/a" => {
                (200, json!({"data": {"data": {"user": "ada", "n": 7}, "metadata": metadata}}).to_string())
            }
            "GET /v1/secret/data/gone" => {
                (404, json!({"data": {"data": null, "metadata": metadata}}).to_string())
            }
            "PUT /v1/secret/data/a" if request.body.contains("\"cas\":9") => (
                400,
                json!({"errors": ["check-and-set parameter did not match the current version"]}).to_string(),
            ),
            "PUT /v1/secret/data/a" => (200, json!({"data": metadata}).to_string()),
            "GET /v1/secret/metadata?list=true" => (200, json!({"data": {"keys": ["a", "b/"]}}).to_string()),
            "GET /v1/plain/a" => {
                (200, json!({"data": {"user": "bob"}, "lease_duration": 2764800}).to_string())
            }
            "PUT /v1/plain/a"
            | "DELETE /v1/plain/a"
            | "DELETE /v1/secret/data/a"
            | "PUT /v1/secret/delete/a" => (204, String::new()),
            _ => (404, json!({"errors": []}).to_string()),
        }
    })
}

#[test]
fn help_reads_well() {
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help_server", vec!["server", "-help"]),
        ("help_kv", vec!["kv", "-help"]),
        ("help_kv_put", vec!["kv", "put", "--help"]),
        ("help_operator", vec!["operator", "-h"]),
        ("help_login", vec!["login", "-help"]),
    ] {
        let ran = holdfast(&arguments, &[], "");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{name}");
        insta::assert_snapshot!(name, ran.out);
    }
}

#[test]
fn wrong_arguments_exit_with_1() {
    for (arguments, said) in [
        (vec!["server"], "Must specify at least one configuration with -config=FILE, or use -dev"),
        (vec!["server", "-config=/nowhere.hcl"], "/nowhere.hcl: cannot be read: No such file"),
        (vec!["server", "-dev", "-log-level=loud"], "flag -log-level is \"loud\", expected trace, debug"),
        (
            vec!["server", "-dev", "-dev-listen-address=x"],
            "flag -dev-listen-address is \"x\", expected an address",
        ),
        (vec!["operator"], "the image of the clusters is not known: set -image=IMAGE or HOLDFAST_IMAGE"),
        (vec!["operator", "run", "-image=a", "-kubeconfig=/nowhere"], "cannot use kubeconfig /nowhere"),
        (vec!["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (vec!["kv", "put", "secret/a"], "required arguments were not provided"),
        (vec!["status", "-format=xml"], "unknown format \"xml\": use table or json"),
        (vec!["status", "-address=nowhere"], "the address cannot be used"),
        (vec!["status", "-ca-cert=/nowhere/ca.pem"], "CA certificates cannot be used: /nowhere/ca.pem"),
        (vec!["write", "secret/a"], "Must supply data or use -force"),
        (vec!["login", "-method=ldap", "x"], "auth method \"ldap\" is not known here"),
    ] {
        let ran = holdfast(&arguments, &[], "");
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
    let environment = [("VAULT_MAX_RETRIES", "many")];
    let ran = holdfast(&["status"], &environment, "");
    assert_eq!(
        ran.err,
        "environment variable VAULT_MAX_RETRIES is \"many\", expected a number from 0 to 100\n"
    );
}

#[test]
fn status_tells_by_its_exit_code() {
    let sealed = Server::start(|request| {
        match request.line.as_str() {
        "GET /v1/sys/seal-status" => (
            200,
            json!({"type": "shamir", "initialized": true, "sealed": true, "t": 3, "n": 5, "progress": 1, "nonce": "n1",
                   "version": "1.16.3", "storage_type": "inmem"})
            .to_string(),
        ),
        _ => (503, json!({"errors": ["Vault is sealed"]}).to_string()),
    }
    });
    let ran = run(&sealed, &["status"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!("status_sealed", ran.out);

    let active = Server::start(|request| {
        match request.line.as_str() {
        "GET /v1/sys/seal-status" => (
            200,
            json!({"type": "static", "recovery_seal": true, "initialized": true, "sealed": false, "t": 1, "n": 1,
                   "version": "1.16.3", "storage_type": "kubernetes", "cluster_name": "c", "cluster_id": "u"})
            .to_string(),
        ),
        _ => (
            200,
            json!({"ha_enabled": true, "is_self": false, "leader_address": "https://10.0.0.1:8200",
                   "leader_cluster_address": "https://10.0.0.1:8201"})
            .to_string(),
        ),
    }
    });
    let ran = run(&active, &["status"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!("status_standby", ran.out);
    let ran = run(&active, &["status", "-format=json"]);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &shown["sealed"], &shown["ha_enabled"]), (0, &json!(false), &json!(true)));

    let ran = holdfast(&["status", "-address=http://127.0.0.1:9"], &[("VAULT_MAX_RETRIES", "0")], "");
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.starts_with("Error checking seal status: GET http://127.0.0.1:9/v1/sys/seal-status: "),
        "{}",
        ran.err
    );
}

#[test]
fn versioned_secrets() {
    let server = kv_server();
    let ran = run(&server, &["kv", "get", "secret/a"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!("kv_get", ran.out);
    let ran = run(&server, &["kv", "get", "-mount=secret", "-field=user", "a"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ada"));
    let ran = run(&server, &["kv", "get", "-format=json", "secret/a"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["data"]["data"]["n"], 7);
    let ran = run(&server, &["kv", "get", "-field=nope", "secret/a"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "Field \"nope\" not present in secret\n"));

    let ran = run(&server, &["kv", "get", "secret/gone"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("Metadata") && !ran.out.contains("= Data ="), "{}", ran.out);
    let ran = run(&server, &["kv", "get", "secret/none"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at secret/data/none\n"));

    let ran = run(&server, &["kv", "put", "-cas=2", "secret/a", "user=ada", "note=x=y"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!("kv_put", ran.out);
    let put = server.seen().last().unwrap().clone();
    assert_eq!(put.token, "hvs.t");
    let sent: serde_json::Value = serde_json::from_str(&put.body).unwrap();
    assert_eq!(sent, json!({"data": {"user": "ada", "note": "x=y"}, "options": {"cas": 2}}));
    let ran = run(&server, &["kv", "put", "-cas=9", "secret/a", "user=ada"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .ends_with("Code: 400. Errors:\n\n* check-and-set parameter did not match the current version\n"),
        "{}",
        ran.err
    );

    let ran = run(&server, &["kv", "list", "secret/"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Keys\n----\na\nb/\n"));
    let ran = run(&server, &["kv", "delete", "secret/a"]);
    assert_eq!(ran.out, "Success! Data deleted (if it existed) at: secret/data/a\n");
    let ran = run(&server, &["kv", "delete", "-versions=1,2", "secret/a"]);
    assert_eq!((ran.code, server.seen().last().unwrap().body.as_str()), (0, r#"{"versions":[1,2]}"#));
    let ran = run(&server, &["kv", "get", "other/a"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("* preflight capability check returned 403"), "{}", ran.err);
}

#[test]
fn secrets_without_versions() {
    let server = kv_server();
    let ran = run(&server, &["kv", "get", "plain/a"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "==== Data ====\nKey     Value\n---     -----\nuser    bob\n")
    );
    let ran = run(&server, &["kv", "put", "plain/a", "user=eve"]);
    assert_eq!(ran.out, "Success! Data written to: plain/a\n");
    assert_eq!(server.seen().last().unwrap().body, r#"{"user":"eve"}"#);
    let ran = run(&server, &["kv", "put", "-cas=1", "plain/a", "user=eve"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "plain/a is in an engine without versions: leave -cas out\n")
    );
    assert_eq!(run(&server, &["kv", "delete", "plain/a"]).code, 0);
}

#[test]
fn logical_verbs() {
    let server = kv_server();
    let ran = run(&server, &["read", "plain/a"]);
    assert_eq!(
        ran.out,
        "Key                 Value\n---                 -----\nrefresh_interval    2764800s\nuser                bob\n"
    );
    assert_eq!(run(&server, &["read", "-field=user", "plain/a"]).out, "bob");
    let ran = run(&server, &["read", "plain/none"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at plain/none\n"));
    let ran = run(&server, &["list", "secret/metadata"]);
    assert_eq!(ran.out, "Keys\n----\na\nb/\n");
    let ran = run(&server, &["list", "-format=json", "secret/metadata"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap(), json!(["a", "b/"]));
    assert_eq!(run(&server, &["write", "plain/a", "user=eve"]).out, "Success! Data written to: plain/a\n");
    assert_eq!(run(&server, &["write", "-f", "plain/a"]).out, "Success! Data written to: plain/a\n");
    assert_eq!(
        run(&server, &["delete", "plain/a"]).out,
        "Success! Data deleted (if it existed) at: plain/a\n"
    );
    assert_eq!(server.seen().last().unwrap().line, "DELETE /v1/plain/a");
}

#[test]
fn login_keeps_the_token_for_its_owner_alone() {
    let server = Server::start(|request| match request.token.as_str() {
        "hvs.good" => (200, json!({"data": {"accessor": "acc", "ttl": 0, "policies": ["root"]}}).to_string()),
        _ => (403, json!({"errors": ["permission denied"]}).to_string()),
    });
    let home = tempfile::tempdir().unwrap();
    let stored = home.path().join(".vault-token");
    let path = home.path().to_str().unwrap();
    let environment = [("VAULT_ADDR", server.address.as_str()), ("HOME", path)];

    let ran = holdfast(&["login"], &environment, "hvs.bad\n");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("* permission denied") && !stored.exists(), "{}", ran.err);
    let ran = holdfast(&["login"], &environment, "");
    assert_eq!((ran.code, ran.err.as_str()), (1, "Token: the standard input is empty\n"));
    let ran = holdfast(&["login", "-no-store", "-token-only", "-"], &environment, "hvs.good\n");
    assert_eq!((ran.code, ran.out.as_str(), stored.exists()), (0, "hvs.good", false));

    // A file that others may read is replaced, not written to.
    std::fs::write(&stored, "old").unwrap();
    std::fs::set_permissions(&stored, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ran = holdfast(&["login"], &environment, "hvs.good\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&stored).unwrap(), "hvs.good");
    assert_eq!(mode(&stored), 0o600);
    insta::assert_snapshot!("login", ran.out.replace(path, "/home/ada"));

    holdfast(&["read", "x"], &environment, "");
    assert_eq!(server.seen().last().unwrap().token, "hvs.good");
    holdfast(&["read", "x"], &[environment[0], environment[1], ("VAULT_TOKEN", "hvs.other")], "");
    assert_eq!(server.seen().last().unwrap().token, "hvs.other");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn operator_verbs() {
    let server = Server::start(|request| {
        match request.line.as_str() {
        "GET /v1/sys/init" => (200, json!({"initialized": false}).to_string()),
        "GET /v1/sys/seal-status" => (200, json!({"type": "shamir", "sealed": true}).to_string()),
        "PUT /v1/sys/init" => (
            200,
            json!({"keys": ["aa", "bb"], "keys_base64": ["qg==", "uw=="], "root_token": "hvs.root"}).to_string(),
        ),
        "PUT /v1/sys/unseal" => (
            200,
            json!({"type": "shamir", "initialized": true, "sealed": true, "t": 2, "n": 2, "progress": 1, "nonce": "n",
                   "version": "v", "storage_type": "inmem"})
            .to_string(),
        ),
        "PUT /v1/sys/seal" | "PUT /v1/sys/step-down" => (204, String::new()),
        _ => (404, String::new()),
    }
    });
    assert_eq!(run(&server, &["operator", "init", "-status"]).code, 2);
    let ran = run(&server, &["operator", "init", "-key-shares=2", "-key-threshold=2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!("operator_init", ran.out);
    let sent: serde_json::Value = serde_json::from_str(&server.seen().last().unwrap().body).unwrap();
    assert_eq!((&sent["secret_shares"], &sent["recovery_shares"]), (&json!(2), &json!(0)));
    let ran = run(&server, &["operator", "init", "-key-shares=2", "-key-threshold=2", "-format=json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap(),
        // The names that scripts read from Vault's own command.
        json!({"unseal_keys_b64": ["qg==", "uw=="], "unseal_keys_hex": ["aa", "bb"], "unseal_shares": 2,
               "unseal_threshold": 2, "recovery_keys_b64": [], "recovery_keys_hex": [], "recovery_keys_shares": 0,
               "recovery_keys_threshold": 0, "root_token": "hvs.root"})
    );

    let environment = [("VAULT_ADDR", server.address.as_str())];
    let ran = holdfast(&["operator", "unseal"], &environment, "  qg==\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("Unseal Progress    1/2"), "{}", ran.out);
    let sent: serde_json::Value = serde_json::from_str(&server.seen().last().unwrap().body).unwrap();
    assert_eq!(sent["key"], "qg==");
    holdfast(&["operator", "unseal", "-reset"], &environment, "");
    let sent: serde_json::Value = serde_json::from_str(&server.seen().last().unwrap().body).unwrap();
    assert_eq!((sent.get("key"), &sent["reset"]), (None, &json!(true)));

    assert_eq!(run(&server, &["operator", "seal"]).out, "Success! Vault is sealed.\n");
    assert_eq!(run(&server, &["operator", "step-down"]).out, "Success! Stepped down\n");
}

#[test]
fn probe_succeeds_with_the_answer() {
    let server = Server::start(|request| match request.line.as_str() {
        "GET /readyz" => (200, "ready\n".to_owned()),
        _ => (503, "the vault is sealed\n".to_owned()),
    });
    let ran = holdfast(&["probe", &format!("{}/readyz", server.address)], &[], "");
    assert_eq!((ran.code, ran.out.as_str()), (0, "ready\n"));
    let ran = holdfast(&["probe", &format!("{}/other", server.address)], &[], "");
    assert_eq!(ran.code, 2);
    assert!(ran.err.ends_with("/other answered 503: the vault is sealed\n"), "{}", ran.err);
    assert_eq!(server.seen()[0].token, "");
}

#[test]
fn crd_prints_every_kind_or_writes_a_file_for_each() {
    let ran = holdfast(&["crd"], &[], "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.matches("kind: CustomResourceDefinition").count(), 3);
    let folder = tempfile::tempdir().unwrap();
    let ran = holdfast(&["crd", "-directory", folder.path().to_str().unwrap()], &[], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let file = std::fs::read_to_string(folder.path().join("holdfast.dev_vaultclusters.yaml")).unwrap();
    assert!(file.contains("plural: vaultclusters") && file.ends_with('\n'));
    let ran = holdfast(&["crd", "-directory=/nowhere"], &[], "");
    assert_eq!(ran.code, 1);
}
