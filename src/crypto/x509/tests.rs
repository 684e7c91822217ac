//! Certificates are judged by those who will meet them: rustls's verifier and, where present, OpenSSL.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Authority, LeafSpec, SigningKey, Usage, Validity, X509Error, inspect};
use crate::base::clock::{Clock, SystemClock, UnixMillis};
use crate::base::random::SystemRandom;

const DAY: u64 = 86_400;

fn now() -> UnixMillis {
    SystemClock.unix()
}

fn spec(dns: &[&str], ips: &[&str]) -> LeafSpec {
    LeafSpec {
        common_name: "holdfast server".to_owned(),
        dns_names: dns.iter().map(|&d| d.to_owned()).collect(),
        ip_addresses: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        usage: Usage::Server,
        validity: Validity::around(now(), 3600, 30 * DAY),
    }
}

fn root_and_issuer() -> (Authority, Authority) {
    let root =
        Authority::new_root("vault CA", Validity::around(now(), 3600, 3650 * DAY), &SystemRandom).unwrap();
    let permitted = ["localhost".to_owned(), "vault.default.svc".to_owned(), "vault-0".to_owned()];
    let issuer = root
        .issue_constrained(
            "vault issuer",
            &permitted,
            Validity::around(now(), 3600, 365 * DAY),
            &SystemRandom,
        )
        .unwrap();
    (root, issuer)
}

fn verify(root_pem: &str, chain_pem: &str, name: &str, at: UnixMillis) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).map(Result::unwrap).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.seconds()));
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at).map(|_| ())
}

#[test]
fn a_leaf_below_a_constrained_issuer_serves_its_names_and_addresses() {
    let (root, issuer) = root_and_issuer();
    let leaf = issuer
        .issue_leaf(
            &spec(&["localhost", "vault.default.svc", "vault-0"], &["10.1.2.3", "fd00::5", "127.0.0.1"]),
            &SystemRandom,
        )
        .unwrap();
    let root_pem = root.chain_pem().unwrap();
    for name in ["localhost", "vault.default.svc", "vault-0", "10.1.2.3", "fd00::5", "127.0.0.1"] {
        verify(&root_pem, &leaf.chain_pem, name, now()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(verify(&root_pem, &leaf.chain_pem, "10.1.2.4", now()).is_err());
    assert!(verify(&root_pem, &leaf.chain_pem, "localhost", now().plus_seconds(31 * DAY)).is_err());
    let info = inspect(&leaf.chain_pem).unwrap();
    assert_eq!(info.dns_names, ["localhost", "vault.default.svc", "vault-0"]);
    assert_eq!(
        info.ip_addresses,
        ["10.1.2.3", "fd00::5", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap())
    );
    assert_eq!(info.validity.not_after.seconds(), leaf.validity.not_after.seconds());
    assert_eq!(info.issuer, "CN=vault issuer");
}

#[test]
fn a_name_outside_the_permitted_subtrees_is_refused_by_verifiers() {
    let (root, issuer) = root_and_issuer();
    let leaf = issuer.issue_leaf(&spec(&["bank.example"], &["10.1.2.3"]), &SystemRandom).unwrap();
    assert!(verify(&root.chain_pem().unwrap(), &leaf.chain_pem, "bank.example", now()).is_err());
    assert!(verify(&root.chain_pem().unwrap(), &leaf.chain_pem, "10.1.2.3", now()).is_err());
}

#[test]
fn openssl_agrees() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let (root, issuer) = root_and_issuer();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let root_path = write("ca.pem", &root.chain_pem().unwrap());
    let issuer_path = write("issuer.pem", &issuer.chain_pem().unwrap());
    let verify = |leaf: &str, check: [&str; 2]| {
        let path = write("leaf.pem", leaf);
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver"]).args(check);
        command.arg("-CAfile").arg(&root_path).arg("-untrusted").arg(&issuer_path).arg(path);
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let good =
        issuer.issue_leaf(&spec(&["localhost", "vault.default.svc"], &["10.1.2.3"]), &SystemRandom).unwrap();
    for check in [["-verify_hostname", "vault.default.svc"], ["-verify_ip", "10.1.2.3"]] {
        let (ok, output) = verify(&good.chain_pem, check);
        assert!(ok, "{output}");
    }
    let foreign = issuer.issue_leaf(&spec(&["bank.example"], &[]), &SystemRandom).unwrap();
    let (ok, output) = verify(&foreign.chain_pem, ["-verify_hostname", "bank.example"]);
    assert!(!ok && output.contains("permitted subtree violation"), "{output}");
}

#[test]
fn an_authority_survives_pem() {
    let (root, issuer) = root_and_issuer();
    let again =
        Authority::from_pem(&issuer.chain_pem().unwrap(), issuer.key_pem().unwrap().expose()).unwrap();
    let leaf = again.issue_leaf(&spec(&["localhost"], &[]), &SystemRandom).unwrap();
    verify(&root.chain_pem().unwrap(), &leaf.chain_pem, "localhost", now()).unwrap();
    let other = SigningKey::generate().unwrap().to_pem().unwrap();
    assert_eq!(
        Authority::from_pem(&issuer.chain_pem().unwrap(), other.expose()).unwrap_err(),
        X509Error::Mismatch
    );
}

#[test]
fn a_leaf_never_outlives_its_issuer() {
    let root = Authority::new_root("ca", Validity::around(now(), 0, DAY), &SystemRandom).unwrap();
    let leaf = root.issue_leaf(&spec(&["localhost"], &[]), &SystemRandom).unwrap();
    assert_eq!(leaf.validity.not_after.seconds(), root.validity().not_after.seconds());
    assert!(leaf.validity.renew_after() < leaf.validity.not_after);
}

#[test]
fn text_that_is_no_certificate_is_refused_with_a_reason() {
    assert!(matches!(inspect("nonsense"), Err(X509Error::Pem { .. })));
    assert!(matches!(SigningKey::from_pem("nonsense"), Err(X509Error::Pem { .. })));
    let root = Authority::new_root("ca", Validity::around(now(), 0, DAY), &SystemRandom).unwrap();
    let bad = root.issue_leaf(&spec(&["not a name"], &[]), &SystemRandom).unwrap_err();
    assert_eq!(bad.to_string(), "\"not a name\" is not a DNS name that a certificate can carry");
}

#[test]
fn nothing_secret_is_printed() {
    let root = Authority::new_root("ca", Validity::around(now(), 0, DAY), &SystemRandom).unwrap();
    assert!(format!("{root:?}").contains("SigningKey(..)"));
}
