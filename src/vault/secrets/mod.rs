//! Secrets engines.

pub mod cubbyhole;
pub mod kv1;
pub mod kv2;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::vault::logical::{Engine, EngineFactory, LogicalError};

/// The factory of a type of secrets engine as in `sys/mounts`; `None` if there is no such type.
///
/// `kv` makes version 2 if the mount's option `version` is `2`, else version 1.
pub fn factory(kind: &str) -> Option<EngineFactory> {
    match kind {
        "kv" => Some(kv),
        "cubbyhole" => Some(cubbyhole::factory),
        _ => None,
    }
}

/// The types that [`factory`] knows and that may be mounted any number of times.
pub const MOUNTABLE_KINDS: &[&str] = &["kv"];

fn kv(options: &BTreeMap<String, String>) -> Result<Arc<dyn Engine>, LogicalError> {
    match options.get("version").map_or("1", String::as_str) {
        "" | "1" => kv1::factory(options),
        "2" => kv2::factory(options),
        other => {
            Err(LogicalError::Invalid(format!("invalid kv version \"{other}\": must be \"1\" or \"2\"")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kv_takes_its_version_from_the_options() {
        let make = factory("kv").unwrap();
        let with = |version: &str| make(&[("version".to_owned(), version.to_owned())].into());
        assert!(make(&BTreeMap::new()).is_ok() && with("1").is_ok() && with("2").is_ok());
        assert_eq!(
            with("3").err().map(|e| e.to_string()).as_deref(),
            Some("invalid kv version \"3\": must be \"1\" or \"2\"")
        );
        assert!(factory("cubbyhole").is_some());
        assert!(factory("nonesuch").is_none());
    }
}
