//! Audit fails closed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;

use crate::vault::core::audit::{AuditDevice, AuditEvent};
use crate::vault::core::testing::Vault;
use crate::vault::core::{CoreError, Outcome};
use crate::vault::logical::Operation::{Read, Update};
use crate::vault::physical::{Backend, SubmitError};

/// A device that writes into memory until it is broken.
#[derive(Default)]
struct Device {
    broken: AtomicBool,
    requests: AtomicUsize,
    lines: Mutex<Vec<String>>,
}

#[async_trait]
impl AuditDevice for Device {
    async fn write(&self, event: &AuditEvent<'_>) -> Result<(), String> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("disk full".to_owned());
        }
        let line = match event {
            AuditEvent::Request { call, error, .. } => {
                self.requests.fetch_add(1, Ordering::SeqCst);
                format!("request {} {}", call.path, error.unwrap_or("-"))
            }
            AuditEvent::Response { call, reply, .. } => format!("response {} {}", call.path, reply.status),
        };
        self.lines.lock().expect("lock").push(line);
        Ok(())
    }
}

#[tokio::test]
async fn what_no_device_can_write_is_not_carried_out() {
    let vault = Vault::unsealed().await;
    let (first, second) = (Arc::new(Device::default()), Arc::new(Device::default()));
    vault.core.parts().audit.set(vec![Arc::clone(&first) as _, Arc::clone(&second) as _]);
    first.broken.store(true, Ordering::SeqCst);
    assert_eq!(vault.ask(&vault.root, Update, "secret/a", json!({"n": 1})).await.0, 204);
    let before = vault.backend.check().await.expect("checked");
    second.broken.store(true, Ordering::SeqCst);
    match vault.outcome(&vault.root, Update, "secret/a", json!({"n": 2})).await {
        Outcome::Failed(error @ CoreError::Audit(_)) => {
            assert_eq!(error.to_string(), "failed to write the audit log: disk full; disk full");
            assert_eq!(error.public_message(), "internal error");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(vault.backend.check().await.expect("checked"), before, "nothing was committed");
    vault.core.parts().audit.set(Vec::new());
    assert_eq!(vault.ask(&vault.root, Read, "secret/a", json!({})).await.1["data"], json!({"n": 1}));
}

#[tokio::test]
async fn a_request_is_written_once_however_often_it_runs() {
    let vault = Vault::unsealed().await;
    let device = Arc::new(Device::default());
    vault.core.parts().audit.set(vec![Arc::clone(&device) as _]);
    vault.ledger.fail_next([SubmitError::Conflict, SubmitError::NotApplied]);
    assert_eq!(vault.ask(&vault.root, Update, "secret/a", json!({})).await.0, 204);
    assert_eq!(vault.ask(&"hvs.unknown".into(), Read, "secret/a", json!({})).await.0, 403);
    let lines = device.lines.lock().expect("lock").clone();
    assert_eq!(
        lines,
        [
            "request secret/a -",
            "response secret/a 204",
            "request secret/a permission denied",
            "response secret/a 403"
        ]
    );
    assert_eq!(device.requests.load(Ordering::SeqCst), 2);
}
