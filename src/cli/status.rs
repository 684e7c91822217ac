//! `status`: how the server is sealed and who leads.

use serde_json::{Value, json};

use super::connect::Session;
use super::failure::Failure;
use super::output::{Report, table};
use crate::api::{Leader, SealStatus};

/// Runs the command. Exit code 0: unsealed; 2: sealed; 1: no answer.
pub(super) async fn run(session: &Session) -> Result<Report, Failure> {
    let failed = |e| Failure { code: 1, ..Failure::call("checking seal status", &e) };
    let status = session.client.seal_status().await.map_err(failed)?;
    let leader = session.client.leader().await.ok();
    shown(session, &status, leader.as_ref()).map(|report| report.with_code(if status.sealed { 2 } else { 0 }))
}

/// A seal status as all commands show it.
pub(super) fn shown(
    session: &Session,
    status: &SealStatus,
    leader: Option<&Leader>,
) -> Result<Report, Failure> {
    let mut value = json!(status);
    if let (Value::Object(members), Some(leader)) = (&mut value, leader) {
        members.insert("ha_enabled".to_owned(), json!(leader.ha_enabled));
        members.insert("is_self".to_owned(), json!(leader.is_self));
        members.insert("active_time".to_owned(), json!(leader.active_time));
        members.insert("leader_address".to_owned(), json!(leader.leader_address));
        members.insert("leader_cluster_address".to_owned(), json!(leader.leader_cluster_address));
    }
    Report::shown(session.format, &value, || table(&rows(status, leader)))
}

/// The rows of the table, in Vault's order and words.
pub(super) fn rows(status: &SealStatus, leader: Option<&Leader>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |key: &str, value: String| rows.push((key.to_owned(), value));
    row("Seal Type", status.kind.clone());
    if status.recovery_seal {
        row("Recovery Seal Type", "shamir".to_owned());
    }
    row("Initialized", status.initialized.to_string());
    row("Sealed", status.sealed.to_string());
    let prefix = if status.recovery_seal { "Total Recovery Shares" } else { "Total Shares" };
    row(prefix, status.shares.to_string());
    row("Threshold", status.threshold.to_string());
    if status.sealed && status.initialized {
        row("Unseal Progress", format!("{}/{}", status.progress, status.threshold));
        row("Unseal Nonce", if status.nonce.is_empty() { "n/a".to_owned() } else { status.nonce.clone() });
    }
    row("Version", status.version.clone());
    row(
        "Build Date",
        if status.build_date.is_empty() { "n/a".to_owned() } else { status.build_date.clone() },
    );
    row("Storage Type", status.storage_type.clone());
    if let Some(name) = &status.cluster_name {
        row("Cluster Name", name.clone());
    }
    if let Some(id) = &status.cluster_id {
        row("Cluster ID", id.clone());
    }
    if let Some(leader) = leader {
        row("HA Enabled", leader.ha_enabled.to_string());
        if leader.ha_enabled && !status.sealed {
            let known = |text: &str| if text.is_empty() { "n/a".to_owned() } else { text.to_owned() };
            row("HA Cluster", known(&leader.leader_cluster_address));
            row("HA Mode", if leader.is_self { "active" } else { "standby" }.to_owned());
            if leader.is_self {
                row("Active Since", known(&leader.active_time));
            } else {
                row("Active Node Address", known(&leader.leader_address));
            }
        }
    }
    rows
}
