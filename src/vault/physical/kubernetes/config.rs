//! Settings of the storage in Kubernetes.

use std::time::Duration;

use crate::vault::physical::unusable::Unusable;

/// Most characters of a store's name: segments append an epoch and a random part to it, and carry it in a label.
pub const NAME_CHARS: usize = 63;

/// Where a vault's objects lie and how much they may burden the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of head and segments.
    pub namespace: String,
    /// Name of the head, and the first part of the names of segments.
    pub name: String,
    /// Bytes of objects, heads and segments, a second that the vault may write in the long run. Commits beyond it wait.
    pub budget_bytes_per_second: u64,
    /// The span, in seconds, over which the budget is balanced: a burst may use as much at once.
    pub budget_window_seconds: u64,
    /// Most bytes of data (keys and values).
    pub data_limit_bytes: u64,
    /// How long a segment that the head no longer lists is kept, in seconds. Must exceed the time that a node takes to
    /// load everything.
    pub garbage_age_seconds: u64,
    /// How often the head is looked at when the watch says nothing, in milliseconds.
    pub poll_millis: u64,
}

impl Settings {
    /// The defaults for the store `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            budget_bytes_per_second: 256 << 10,
            budget_window_seconds: 60,
            data_limit_bytes: 64 << 20,
            garbage_age_seconds: 600,
            poll_millis: 1000,
        }
    }

    /// Whether the settings can work.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn check(&self) -> Result<(), Unusable> {
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= NAME_CHARS
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !text.starts_with('-')
                && !text.ends_with('-')
        };
        for (key, text) in [("namespace", &self.namespace), ("name", &self.name)] {
            if !is_name(text) {
                let reason = format!(
                    "{text:?} is not a name of at most {NAME_CHARS} lower-case letters, digits and dashes"
                );
                return Err(Unusable::Setting { key, reason });
            }
        }
        for (key, value) in [
            ("budget_bytes_per_second", self.budget_bytes_per_second),
            ("budget_window_seconds", self.budget_window_seconds),
            ("data_limit_bytes", self.data_limit_bytes),
            ("poll_millis", self.poll_millis),
        ] {
            if value == 0 {
                return Err(Unusable::Setting { key, reason: "it must not be zero".to_owned() });
            }
        }
        Ok(())
    }

    pub(super) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_millis)
    }

    pub(super) fn garbage_age(&self) -> Duration {
        Duration::from_secs(self.garbage_age_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        assert_eq!(Settings::new("ns", "vault").check(), Ok(()));
        for name in ["", "Vault", "a_b", "-a", "a-", &"x".repeat(64)] {
            let expected =
                format!("name: {name:?} is not a name of at most 63 lower-case letters, digits and dashes");
            assert_eq!(Settings::new("ns", name).check().unwrap_err().to_string(), expected);
        }
        let settings = Settings { poll_millis: 0, ..Settings::new("ns", "vault") };
        assert_eq!(settings.check().unwrap_err().to_string(), "poll_millis: it must not be zero");
    }
}
