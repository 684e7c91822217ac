//! What every node answers for itself, sealed or not: init, seal-status, unseal, health, leader.
//!
//! Health and leader come from memory alone, so that a hung storage hangs no probe.

use axum::body::Body as HttpBody;
use http::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::inbound::Inbound;
use super::lifecycle::{InitWish, Lifecycle};
use super::query;
use super::respond::{self, Refusal};
use crate::api::{Health, HealthCodes, InitRequest, Leader, SealStatus, UnsealRequest, VERSION};
use crate::base::secret::SecretString;
use crate::vault::core::{self, CoreError};
use crate::vault::ha::Role;
use crate::vault::ha::committer::JUMP;
use crate::vault::seal::read_share;

impl From<CoreError> for Refusal {
    fn from(error: CoreError) -> Self {
        if matches!(error, CoreError::Internal(_) | CoreError::Audit(_)) {
            tracing::error!(%error, "internal error");
        }
        Self::of(error.class(), error.public_message())
    }
}

/// Answers `inbound` if it is for this node whatever its state.
pub(super) async fn serve(lifecycle: &Lifecycle, inbound: &Inbound) -> Option<Response<HttpBody>> {
    let path = inbound.uri.path().strip_prefix("/v1/sys/")?;
    let method = &inbound.method;
    let is_write = matches!(*method, Method::PUT | Method::POST);
    let answered = match (path, is_write) {
        ("init", true) => init(lifecycle, inbound).await,
        ("init", false) if *method == Method::GET => Ok(init_status(lifecycle).await),
        ("seal-status", false) if *method == Method::GET => Ok(seal_status(lifecycle).await),
        ("unseal", true) => unseal(lifecycle, inbound).await,
        ("health", false) if matches!(*method, Method::GET | Method::HEAD) => health(lifecycle, inbound),
        ("leader", false) if *method == Method::GET => Ok(leader(lifecycle)),
        ("init" | "seal-status" | "unseal" | "health" | "leader", _) => Err(Refusal::method_not_allowed()),
        _ => return None,
    };
    Some(answered.unwrap_or_else(Refusal::into_response))
}

fn ok<T: serde::Serialize>(body: &T) -> Response<HttpBody> {
    match serde_json::to_value(body) {
        Ok(value) => respond::json(StatusCode::OK, &value),
        Err(_) => respond::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The body as `T`; the error names the field, never its value.
fn body<T: DeserializeOwned>(inbound: &Inbound) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(inbound.fields()?))
        .map_err(|_| Refusal::invalid("failed to parse JSON input: a field has the wrong type"))
}

async fn init_status(lifecycle: &Lifecycle) -> Response<HttpBody> {
    ok(&json!({ "initialized": lifecycle.look().await.initialized }))
}

async fn init(lifecycle: &Lifecycle, inbound: &Inbound) -> Result<Response<HttpBody>, Refusal> {
    let nonce = match inbound.fields()?.get("nonce") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(SecretString::from(text.as_str())),
        Some(_) => return Err(Refusal::invalid("nonce must be a string")),
    };
    let asked: InitRequest = body(inbound)?;
    let has_pgp = [&asked.pgp_keys, &asked.recovery_pgp_keys]
        .iter()
        .any(|keys| keys.as_ref().is_some_and(|k| !k.is_empty()));
    if has_pgp || asked.root_token_pgp_key.as_ref().is_some_and(|key| !key.is_empty()) {
        return Err(Refusal::invalid(
            "PGP keys are not supported: the shares would be returned in the clear",
        ));
    }
    let wish = InitWish {
        secret_shares: count("secret_shares", asked.secret_shares)?,
        secret_threshold: count("secret_threshold", asked.secret_threshold)?,
        recovery_shares: count("recovery_shares", asked.recovery_shares)?,
        recovery_threshold: count("recovery_threshold", asked.recovery_threshold)?,
        nonce,
        ..InitWish::default()
    };
    let answer = lifecycle.initialise(wish).await?;
    Ok(ok(&answer.body()))
}

fn count(name: &str, number: u32) -> Result<u8, Refusal> {
    u8::try_from(number).map_err(|_| Refusal::invalid(format!("{name} must be at most 255")))
}

async fn unseal(lifecycle: &Lifecycle, inbound: &Inbound) -> Result<Response<HttpBody>, Refusal> {
    let asked: UnsealRequest = body(inbound)?;
    if asked.reset {
        let status = lifecycle.core.reset_unseal();
        return Ok(ok(&seal_body(lifecycle, &status)));
    }
    let key = asked.key.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| {
        Refusal::invalid("'key' must be specified in request body as JSON, or 'reset' set to true")
    })?;
    let share =
        read_share(&key).ok_or_else(|| Refusal::invalid("'key' must be a valid hex or base64 string"))?;
    let status = lifecycle.unseal(share).await?;
    Ok(ok(&seal_body(lifecycle, &status)))
}

async fn seal_status(lifecycle: &Lifecycle) -> Response<HttpBody> {
    ok(&seal_body(lifecycle, &lifecycle.look().await))
}

fn seal_body(lifecycle: &Lifecycle, status: &core::SealStatus) -> SealStatus {
    SealStatus {
        kind: status.kind.to_owned(),
        initialized: status.initialized,
        sealed: status.sealed,
        threshold: u32::from(status.threshold),
        shares: u32::from(status.shares),
        progress: u32::try_from(status.progress).unwrap_or(u32::MAX),
        nonce: status.nonce.clone(),
        version: VERSION.to_owned(),
        cluster_name: status.cluster_name.clone(),
        cluster_id: status.cluster_id.clone(),
        recovery_seal: status.recovery_seal,
        storage_type: lifecycle.backend.kind().to_owned(),
        ..SealStatus::default()
    }
}

fn leader(lifecycle: &Lifecycle) -> Response<HttpBody> {
    let status = lifecycle.ha.status().borrow().clone();
    let active_time = match &status.role {
        Role::Active { since_unix, .. } => since_unix.rfc3339(),
        _ => String::new(),
    };
    let (leader_address, leader_cluster_address) =
        status.leader.map(|leader| (leader.api_addr, leader.cluster_addr)).unwrap_or_default();
    ok(&Leader {
        ha_enabled: !lifecycle.ha.settings().lock_disabled,
        is_self: status.role.is_active(),
        active_time,
        leader_address,
        leader_cluster_address,
        ..Leader::default()
    })
}

// What the API tells clients and the operator is what leadership goes by.
const _: () = assert!(Health::MOST_CLOCK_SKEW_MS as u128 == JUMP.as_millis());

fn health(lifecycle: &Lifecycle, inbound: &Inbound) -> Result<Response<HttpBody>, Refusal> {
    let seal = lifecycle.core.seal_status();
    let status = lifecycle.ha.status().borrow().clone();
    let is_active = status.role.is_active();
    let code = health_code(inbound, &seal, &status)?;
    let body = Health {
        initialized: seal.initialized,
        sealed: seal.sealed,
        standby: !is_active,
        performance_standby: false,
        replication_performance_mode: "disabled".to_owned(),
        replication_dr_mode: "disabled".to_owned(),
        server_time_utc: lifecycle.clock.unix().seconds(),
        version: VERSION.to_owned(),
        enterprise: false,
        clock_skew_ms: lifecycle.ha.clock_skew_ms(),
        cluster_name: seal.cluster_name,
        cluster_id: seal.cluster_id,
    };
    let mut response = ok(&body);
    *response.status_mut() = code;
    if inbound.method == Method::HEAD {
        *response.body_mut() = HttpBody::empty();
    }
    Ok(response)
}

fn health_code(
    inbound: &Inbound,
    seal: &core::SealStatus,
    status: &crate::vault::ha::HaStatus,
) -> Result<StatusCode, Refusal> {
    let asked = inbound.query()?;
    let usual = HealthCodes::default();
    let code = |name: &str, usual: u16| match asked.get(name) {
        None => Ok(usual),
        Some(text) => text
            .parse()
            .ok()
            .filter(|code| (200..=599).contains(code))
            .ok_or_else(|| Refusal::invalid(format!("{name}={text} is not a status code"))),
    };
    // Every code is looked at, so that a bad one is told whatever the state is.
    let active = code("activecode", usual.active)?;
    let standby = code("standbycode", usual.standby)?;
    let unhealthy = code("haunhealthycode", usual.unhealthy)?;
    let uninitialized = code("uninitcode", usual.uninitialized)?;
    let sealed = code("sealedcode", usual.sealed)?;
    let flag = |name: &str| match asked.get(name) {
        None => Ok(false),
        Some("") => Ok(true),
        Some(text) => query::parse_bool(text)
            .ok_or_else(|| Refusal::invalid(format!("{name}={text} is neither true nor false"))),
    };
    let standby_is_ok = flag("standbyok")? | flag("perfstandbyok")?;
    let chosen = match &status.role {
        // What the storage holds is not known yet: that is no reason to initialise anything.
        Role::Unknown if !seal.initialized => sealed,
        _ if !seal.initialized => uninitialized,
        _ if seal.sealed => sealed,
        Role::Active { .. } => active,
        Role::RolledBack { .. } => unhealthy,
        _ if status.leader.is_none() && status.storage_away.is_some() => unhealthy,
        _ if standby_is_ok => active,
        _ => standby,
    };
    StatusCode::from_u16(chosen).map_err(|_| Refusal::invalid("not a status code"))
}
