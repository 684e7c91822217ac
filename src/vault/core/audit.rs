//! The place of audit devices in the pipeline. With devices, nothing is served that none of them wrote.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::call::{Call, Reply};
use super::error::CoreError;
use crate::vault::logical::Principal;

/// What a device is told.
#[derive(Debug)]
pub enum AuditEvent<'a> {
    /// Before a request is carried out.
    Request {
        /// The request.
        call: &'a Call,
        /// Who asks.
        principal: &'a Principal,
        /// Why it was refused, if it was.
        error: Option<&'a str>,
    },
    /// Before an answer is sent.
    Response {
        /// The request.
        call: &'a Call,
        /// Who asks.
        principal: &'a Principal,
        /// The answer.
        reply: &'a Reply,
    },
}

/// One audit device.
#[async_trait]
pub trait AuditDevice: Send + Sync {
    /// Writes an event durably; bounded in time by the device.
    ///
    /// # Errors
    /// A sentence for the log.
    async fn write(&self, event: &AuditEvent<'_>) -> Result<(), String>;
}

/// All audit devices.
#[derive(Default)]
pub struct AuditBroker {
    devices: ArcSwap<Vec<Arc<dyn AuditDevice>>>,
}

impl fmt::Debug for AuditBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditBroker").field("devices", &self.devices.load().len()).finish()
    }
}

impl AuditBroker {
    /// Uses these devices from now on.
    pub fn set(&self, devices: Vec<Arc<dyn AuditDevice>>) {
        self.devices.store(Arc::new(devices));
    }

    /// Writes an event to all devices; fails closed: one device at least must have written it, unless there are none.
    ///
    /// # Errors
    /// [`CoreError::Audit`].
    pub async fn write(&self, event: &AuditEvent<'_>) -> Result<(), CoreError> {
        let devices = self.devices.load_full();
        let mut written = devices.is_empty();
        let mut reasons = Vec::new();
        for device in devices.iter() {
            match device.write(event).await {
                Ok(()) => written = true,
                Err(reason) => reasons.push(reason),
            }
        }
        if written { Ok(()) } else { Err(CoreError::Audit(reasons.join("; "))) }
    }
}
