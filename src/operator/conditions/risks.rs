//! Conditions that are present only while they matter: pause, risks, fullness.

use crate::crd::cluster::{ConditionType, Profile, TlsMode};
use crate::operator::build::meta::Kind;
use crate::operator::build::{Context, keys};
use crate::operator::observe::Observed;

use super::{Verdict, verdict};

/// Conditions that are present only while they matter.
pub(super) fn situational(context: &Context<'_>, seen: &Observed) -> Vec<Verdict> {
    let mut out = Vec::new();
    let spec = &context.cluster.spec;
    if spec.paused {
        let message = "spec.paused is true: the operator changes nothing";
        out.push(verdict(ConditionType::Paused, true, "Requested", message));
    }
    if let Some((reason, message)) = risk(context, seen) {
        out.push(verdict(ConditionType::SecurityRisk, true, reason, message));
    }
    if let Some(message) = skew(seen) {
        out.push(verdict(ConditionType::ClockSkew, true, "ClockOff", message));
    }
    if let Some(message) = fullness(context, seen) {
        out.push(verdict(ConditionType::StorageFull, true, "NearLimit", message));
    }
    out
}

fn risk(context: &Context<'_>, seen: &Observed) -> Option<(&'static str, String)> {
    let name = context.names.init();
    let mut risks = Vec::new();
    if let Some(secret) = seen.secret(&name) {
        let has = |prefix: &str| {
            secret["data"].as_object().is_some_and(|data| data.keys().any(|key| key.starts_with(prefix)))
        };
        if has(keys::ROOT_TOKEN) {
            let message = format!(
                "Secret {name} holds the first root token: revoke it and remove {}",
                keys::ROOT_TOKEN
            );
            risks.push(("RootTokenStored", message));
        }
        if has(keys::RECOVERY_KEY) {
            let message =
                format!("Secret {name} holds recovery keys: move them to a safe place and remove them");
            risks.push(("PlainKeys", message));
        }
    }
    if context.cluster.spec.tls.mode == TlsMode::Disabled {
        risks.push(("TLSDisabled", "tokens and secrets travel in the clear".to_owned()));
    }
    if context.cluster.spec.profile == Profile::Development {
        risks.push(("DevelopmentProfile", "profile Development is for trials".to_owned()));
    }
    let reason = risks.first()?.0;
    Some((reason, risks.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ")))
}

fn skew(seen: &Observed) -> Option<String> {
    let off = seen.pods.iter().filter_map(|pod| {
        let ms = pod.answer.as_ref().ok()?.clock_off_ms?;
        let (seconds, way) = (ms.unsigned_abs() / 1000, if ms > 0 { "ahead" } else { "behind" });
        let node = pod.node.as_deref().unwrap_or("an unknown node");
        Some(format!("the clock of pod {} is {seconds} s {way}: set the time of {node}", pod.name))
    });
    let told = off.collect::<Vec<_>>().join("; ");
    (!told.is_empty()).then(|| format!("{told}; until then such a pod does not become active"))
}

/// Bytes that the storage in Kubernetes holds unless the specification says otherwise.
const DEFAULT_DATA_LIMIT: i64 = 64 << 20;

fn fullness(context: &Context<'_>, seen: &Observed) -> Option<String> {
    let head = seen.child(Kind::Head, &context.names.base)?;
    let used = head.pointer("/spec/dataBytes")?.as_i64()?;
    let section = context.cluster.spec.storage.kubernetes.as_ref();
    let limit = section.and_then(|k| k.data_limit_bytes).unwrap_or(DEFAULT_DATA_LIMIT);
    (used.saturating_mul(5) >= limit.saturating_mul(4)).then(|| {
        format!("{used} of {limit} bytes are in use: delete data, raise storage.kubernetes.dataLimitBytes, or move to another storage")
    })
}
