//! Time, as a value passed in: the only file that reads a clock.
//!
//! Waiting and expiry use a monotonic clock that counts suspend (Linux `CLOCK_BOOTTIME`): a process that was
//! paused must not believe that no time has passed. Wall time is only ever shown, or fed into cluster time.

use std::sync::Mutex;
use std::time::Duration;

/// A reading of the monotonic clock that counts suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment this long after the clock's origin.
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Time since the clock's origin.
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `span` later (saturating).
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus `seconds` (saturating).
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// RFC 3339 text in UTC with nanoseconds as Vault prints them (trailing zeros trimmed).
    pub fn rfc3339(self) -> String {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |t| t.to_string())
    }

    /// Reads RFC 3339 text; `None` if it is not one or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(Self)
    }
}

/// A source of time.
pub trait Clock: Send + Sync {
    /// Now, on the monotonic clock that counts suspend.
    fn now(&self) -> Moment;
    /// Now, by the wall clock.
    fn unix(&self) -> UnixMillis;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment(Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0)))
    }

    fn unix(&self) -> UnixMillis {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        UnixMillis(t.tv_sec.unsigned_abs() * 1000 + t.tv_nsec.unsigned_abs() / 1_000_000)
    }
}

/// A clock that stands still until it is moved; for tests and the simulation.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<(Moment, UnixMillis)>);

impl ManualClock {
    /// A clock whose wall time starts at `unix` and whose monotonic time starts at its origin.
    pub fn starting_at(unix: UnixMillis) -> Self {
        Self(Mutex::new((Moment::default(), unix)))
    }

    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.0 = state.0.plus(span);
        state.1 = UnixMillis(state.1.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    fn unix(&self) -> UnixMillis {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1
    }
}
