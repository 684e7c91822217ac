//! The cluster's CA, its published certificate, and the issuer from which the pods mint their own.
//!
//! The CA's key stays in a Secret that no pod mounts. The issuer is constrained to this cluster's names, so that a
//! pod that is taken over can impersonate this vault and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields};
use crate::base::clock::UnixMillis;
use crate::base::random::Random;
use crate::crypto::x509::{Authority, Validity, X509Error};
use crate::operator::live;

const DAY_SECONDS: u64 = 86_400;
/// The CA's life. It is not renewed: its certificate is what clients were given.
const CA_LIFE_SECONDS: u64 = 3650 * DAY_SECONDS;
/// The issuer's life; a new one follows after two thirds of it.
const ISSUER_LIFE_SECONDS: u64 = 365 * DAY_SECONDS;
/// For clocks that run behind.
const TOLERANCE_SECONDS: u64 = DAY_SECONDS;
/// Annotation of the issuer: the names that it was constrained to.
const ISSUED_FOR: &str = "holdfast.dev/issued-for";

/// What is to be done about certificates.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// The CA, if there is none yet. It is created, never replaced.
    pub(crate) create_ca: Option<Child>,
    /// What is to be applied: the published certificate, and a new issuer if one is due.
    pub(crate) apply: Vec<Child>,
    /// Until when the issuer in use is valid.
    pub(crate) expires: Option<UnixMillis>,
}

/// Decides about certificates from the Secrets that are there: the CA's and the issuer's.
///
/// # Errors
/// When the CA's Secret holds no CA, or a certificate cannot be made.
pub(crate) fn plan(
    context: &Context<'_>,
    ca: Option<&Value>,
    issuer: Option<&Value>,
    now: UnixMillis,
    random: &dyn Random,
) -> Result<Certificates, X509Error> {
    let mut out = Certificates::default();
    let authority = match ca {
        Some(secret) => read(secret, "the CA's Secret")?,
        None => {
            let name = format!("holdfast CA of {}.{}", context.names.base, context.names.namespace);
            let validity = Validity::around(now, TOLERANCE_SECONDS, CA_LIFE_SECONDS);
            let authority = Authority::new_root(&name, validity, random)?;
            out.create_ca = Some(ca_secret(context, &authority)?);
            authority
        }
    };
    let root = authority.chain_pem()?;
    out.apply.push(ca_certificate(context, &root));
    match issuer.and_then(|secret| current(context, secret, &root, now)) {
        Some(validity) => out.expires = Some(validity.not_after),
        None => {
            let validity = Validity::around(now, TOLERANCE_SECONDS, ISSUER_LIFE_SECONDS);
            let permitted = context.names.permitted_dns(&context.settings.cluster_domain);
            let name = format!("holdfast issuer of {}.{}", context.names.base, context.names.namespace);
            let issuer = authority.issue_constrained(&name, &permitted, validity, random)?;
            out.expires = Some(issuer.validity().not_after);
            out.apply.push(issuer_secret(context, &issuer, &root)?);
        }
    }
    Ok(out)
}

fn read(secret: &Value, what: &'static str) -> Result<Authority, X509Error> {
    let text = |key: &str| {
        live::secret_text(secret, key)
            .ok_or_else(|| X509Error::Pem { what, reason: format!("it has no {key} that is text") })
    };
    Authority::from_pem(&text("tls.crt")?, &text("tls.key")?)
}

/// The validity of the issuer in `secret`, if it may stay in use.
fn current(context: &Context<'_>, secret: &Value, root: &str, now: UnixMillis) -> Option<Validity> {
    let issuer = read(secret, "the issuer's Secret").ok()?;
    let same_root = live::secret_text(secret, "ca.crt").as_deref() == Some(root);
    let issued_for = secret.pointer("/metadata/annotations")?.get(ISSUED_FOR)?.as_str()?;
    let same_names = issued_for == names(context);
    let validity = issuer.validity();
    (same_root && same_names && now < validity.renew_after()).then_some(validity)
}

/// The names that the issuer is for; with the cluster's own name they follow from the DNS domain.
fn names(context: &Context<'_>) -> String {
    format!("{}.{}.svc.{}", context.names.base, context.names.namespace, context.settings.cluster_domain)
}

fn ca_secret(context: &Context<'_>, authority: &Authority) -> Result<Child, X509Error> {
    let body = json!({
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": STANDARD.encode(authority.chain_pem()?),
            "tls.key": STANDARD.encode(authority.key_pem()?.expose()),
        },
    });
    Ok(child(context, Kind::Secret, &context.names.ca(), Ownership::Kept, fields(body)))
}

fn ca_certificate(context: &Context<'_>, root: &str) -> Child {
    let body = json!({"type": "Opaque", "data": {"ca.crt": STANDARD.encode(root)}});
    child(context, Kind::Secret, &context.names.ca_cert(), Ownership::Owned, fields(body))
}

fn issuer_secret(context: &Context<'_>, issuer: &Authority, root: &str) -> Result<Child, X509Error> {
    let body = json!({
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": STANDARD.encode(issuer.chain_pem()?),
            "tls.key": STANDARD.encode(issuer.key_pem()?.expose()),
            "ca.crt": STANDARD.encode(root),
        },
    });
    let mut secret = child(context, Kind::Secret, &context.names.issuer(), Ownership::Owned, fields(body));
    secret.value["metadata"]["annotations"] = json!({ISSUED_FOR: names(context)});
    Ok(secret)
}
