//! Time to live: pure arithmetic in whole seconds.

use thiserror::Error;

use crate::base::clock::UnixMillis;

/// The system's maximum (and default) TTL: 768 hours, in seconds.
pub const MAX_TTL_SECONDS: u64 = 2_764_800;

/// What decides a TTL. Seconds everywhere; zero means "not set".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TtlRequest {
    /// What the caller asks for.
    pub increment: u64,
    /// Period: the TTL of each renewal, without a maximum but `explicit_max`.
    pub period: u64,
    /// Default of the role or login.
    pub backend_ttl: u64,
    /// Maximum of the role or login.
    pub backend_max: u64,
    /// Maximum since creation that nothing passes.
    pub explicit_max: u64,
    /// Default of the mount.
    pub mount_default: u64,
    /// Maximum of the mount.
    pub mount_max: u64,
    /// Seconds since creation.
    pub age: u64,
}

/// Why there is no TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TtlError {
    /// The maximum is reached.
    #[error("past the max TTL, cannot renew")]
    PastMaximum,
}

/// The TTL from now in seconds, and a warning for every cap that was applied.
///
/// # Errors
/// [`TtlError::PastMaximum`].
pub fn ttl(request: TtlRequest) -> Result<(u64, Vec<String>), TtlError> {
    let mut warnings = Vec::new();
    let mount_max = if request.mount_max == 0 { MAX_TTL_SECONDS } else { request.mount_max };
    let max = smallest_set(&[mount_max, request.backend_max]);
    let mut cap = |wanted: u64, limit: u64, shown: u64| {
        if wanted > limit {
            warnings.push(format!(
                "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly",
                go_text(wanted),
                go_text(shown)
            ));
            limit
        } else {
            wanted
        }
    };
    let remaining = |limit: u64| match limit.checked_sub(request.age) {
        Some(left) if left > 0 => Ok(left),
        _ => Err(TtlError::PastMaximum),
    };
    let granted = if request.period > 0 {
        let granted = cap(request.period, mount_max, mount_max);
        if request.explicit_max > 0 { granted.min(remaining(request.explicit_max)?) } else { granted }
    } else {
        let limit = smallest_set(&[max, request.explicit_max]);
        let default = if request.mount_default == 0 { MAX_TTL_SECONDS } else { request.mount_default };
        let asked = [request.increment, request.backend_ttl].into_iter().find(|ttl| *ttl > 0);
        match asked {
            Some(asked) => cap(asked, remaining(limit)?, limit),
            // The system's own default is no wish of the caller: it is capped without a warning.
            None => default.min(remaining(limit)?),
        }
    };
    Ok((granted, warnings))
}

/// When a TTL that starts at `now` ends.
pub(super) fn end(now: UnixMillis, ttl_seconds: u64) -> UnixMillis {
    now.plus_seconds(ttl_seconds)
}

fn smallest_set(values: &[u64]) -> u64 {
    values.iter().copied().filter(|value| *value > 0).min().unwrap_or(0)
}

fn go_text(seconds: u64) -> String {
    crate::base::duration::go_text(std::time::Duration::from_secs(seconds))
}
