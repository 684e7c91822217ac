//! Bad input for everything that the operator refuses although the API server took it.

use serde_json::{Value, json};

use super::*;
use crate::base::clock::UnixMillis;
use crate::base::random::SystemRandom;
use crate::crd::VaultCluster;
use crate::crypto::x509::{Authority, LeafSpec, Usage, Validity};
use crate::k8s::words::LABEL_CLUSTER;
use crate::operator::build::Context;
use crate::operator::build::meta::Kind;
use crate::operator::observe::Observed;
use crate::operator::settings::Settings;
use crate::vault::logical::testing::untried;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn cluster(spec: &str, status: &str) -> VaultCluster {
    let text = format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: v, namespace: n, uid: u}}\nspec: {spec}\nstatus: {status}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn with<T>(spec: &str, work: impl FnOnce(&Context<'_>) -> T) -> T {
    let (cluster, settings) = (cluster(spec, "{}"), Settings::for_image("i:1"));
    work(&Context::new(&cluster, &settings).unwrap())
}

/// Reason and message of the one problem.
fn said(problems: Vec<Problem>) -> (&'static str, String) {
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().map(|problem| (problem.reason, problem.message)).unwrap()
}

/// A certificate for `name` that is valid for an hour from `from`, in PEM.
fn certificate_for(name: &str, from: UnixMillis) -> String {
    let validity = || Validity::around(from, 60, 3600);
    let authority = Authority::new_root("test", validity(), &SystemRandom).unwrap();
    let spec = LeafSpec {
        common_name: "vault".to_owned(),
        dns_names: vec![name.to_owned()],
        ip_addresses: Vec::new(),
        usage: Usage::Server,
        validity: validity(),
    };
    authority.issue_leaf(&spec, &SystemRandom).unwrap().chain_pem
}

fn secret(certificate: &str) -> Value {
    use base64::Engine;
    let text = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    json!({"data": {"tls.crt": text(certificate), "tls.key": text("key"), "ca.crt": text("ca")}})
}

fn specifications() -> Vec<(&'static str, String)> {
    let mut heard = Vec::new();
    let rule = said(specification(&cluster("{replicas: 0}", "{}")));
    assert_eq!(rule, ("InvalidSpec", "spec.replicas: replicas must be 1 to 9".to_owned()));
    heard.push(rule);
    let changed = said(specification(&cluster("{}", "{storageType: Memory}")));
    let text = "spec.storage: storage.type cannot be changed: the cluster was created with Memory";
    assert_eq!(changed, ("InvalidSpec", text.to_owned()));
    heard.push(changed);
    assert_eq!(specification(&cluster("{}", "{storageType: Kubernetes}")), []);
    heard
}

fn storage() -> Vec<(&'static str, String)> {
    let spec =
        "{storage: {type: Consul, consul: {address: 'https://c:8501', credentialsSecretRef: {name: t}}}}";
    let mut seen = Observed::default();
    let missing = with(spec, |context| said(storage_secrets(context, &seen)));
    let text = "storage.consul.credentialsSecretRef: there is no Secret t";
    assert_eq!(missing, ("SecretMissing", text.to_owned()));
    seen.live.insert((Kind::Secret, "t".to_owned()), json!({"data": {"other": "eA=="}}));
    let incomplete = with(spec, |context| said(storage_secrets(context, &seen)));
    let text = "storage.consul.credentialsSecretRef: Secret t has no token that is text";
    assert_eq!(incomplete, ("SecretIncomplete", text.to_owned()));
    seen.live.insert((Kind::Secret, "t".to_owned()), json!({"data": {"token": "eA=="}}));
    with(spec, |context| assert_eq!(storage_secrets(context, &seen), []));
    vec![missing, incomplete]
}

fn names() -> Vec<(&'static str, String)> {
    let service = |labels: Value, is_ending: bool| {
        let mut metadata = json!({"labels": labels});
        if is_ending {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let mut seen = Observed::default();
        seen.live.insert((Kind::Service, "v-active".to_owned()), json!({"metadata": metadata}));
        with("{}", |context| conflicts(context, &seen))
    };
    assert_eq!(service(json!({LABEL_CLUSTER: "v"}), false), []);
    assert_eq!(service(json!({}), true), [], "it goes by itself");
    let foreign = said(service(json!({LABEL_CLUSTER: "other"}), false));
    let text = "Service/v-active exists and does not belong to this cluster: rename one of the two";
    assert_eq!(foreign, ("NameConflict", text.to_owned()));
    assert_eq!(said(service(json!({}), false)), foreign);
    vec![foreign]
}

fn certificates() -> Vec<(&'static str, String)> {
    let own = "{tls: {mode: Secret, secretRef: {name: mine}}}";
    let judge = |secret: Option<&Value>, now| with(own, |context| certificate(context, secret, now));
    let good = certificate_for("v.n.svc", NOW);
    assert_eq!(judge(Some(&secret(&good)), NOW), None);
    assert_eq!(judge(Some(&secret(&certificate_for("*.n.svc", NOW))), NOW), None);
    assert_eq!(with("{}", |context| certificate(context, None, NOW)), None, "the operator makes them itself");
    let mut heard = Vec::new();
    let mut hear = |secret: Option<Value>, now, reason, text: &str| {
        let problem = judge(secret.as_ref(), now).unwrap_or_else(|| panic!("{text}: accepted"));
        assert_eq!(problem.reason, reason);
        assert!(problem.message.starts_with(text), "{}", problem.message);
        heard.push((problem.reason, problem.message));
    };
    hear(None, NOW, "SecretMissing", "tls.secretRef: there is no Secret mine");
    for key in ["tls.crt", "tls.key", "ca.crt"] {
        let mut secret = secret(&good);
        secret["data"].as_object_mut().unwrap().remove(key);
        hear(Some(secret), NOW, "SecretIncomplete", &format!("Secret mine has no {key} that is text"));
    }
    hear(Some(secret("nonsense")), NOW, "CertificateInvalid", "Secret mine: ");
    let later = NOW.plus_seconds(7200);
    hear(
        Some(secret(&good)),
        later,
        "Expired",
        "the certificate in Secret mine expired at 2023-11-14T23:13:20Z",
    );
    for name in ["other.n.svc", "*.svc", "v.n.svc.evil"] {
        let wrong = certificate_for(name, NOW);
        hear(Some(secret(&wrong)), NOW, "SANMissing", "the certificate in Secret mine is not for v.n.svc");
    }
    heard
}

#[test]
fn every_problem_has_its_reason_and_text() {
    let heard = [specifications(), storage(), names(), certificates()].concat();
    let texts: Vec<String> = heard.into_iter().map(|(_, text)| text).collect();
    // The text of a rule is the rule's own; `tests/operator` has its cases.
    assert_eq!(untried(&["operator/validate"], &texts, &[]), [""; 0]);
}
