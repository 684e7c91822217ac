//! What clients did and were told.

use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

/// Microseconds since the run began.
pub type Time = u64;

/// How an operation ended, as far as its client can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// Certainly not carried out, now or later.
    Refused,
    /// No answer, or one that says that nobody knows.
    Unknown,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum What {
    Write {
        key: u32,
        value: u64,
    },
    /// `value` counts if it is done; zero: there is none.
    Read {
        key: u32,
        value: u64,
    },
    /// From `count - 1` to `count`, by check-and-set.
    Increment {
        counter: u32,
        count: u64,
    },
    /// A token; `uses` zero: without a limit.
    CreateToken {
        token: u32,
        uses: u32,
    },
    /// Done: the token was accepted; refused: it was not.
    UseToken {
        token: u32,
    },
    RevokeToken {
        token: u32,
    },
}

impl What {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::Increment { .. } => "increment",
            Self::CreateToken { .. } => "create token",
            Self::UseToken { .. } => "use token",
            Self::RevokeToken { .. } => "revoke token",
        }
    }

    /// Whether its success shows that the cluster commits.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Read { .. } | Self::UseToken { .. })
    }
}

/// The state that an answer was based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Index {
    pub cluster: String,
    pub seq: u64,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    pub client: u32,
    pub node: usize,
    pub begin: Time,
    pub end: Time,
    pub what: What,
    pub outcome: Outcome,
    pub index: Option<Index>,
    /// Status and error text, if it is not done.
    pub note: String,
}

/// The growing history.
pub struct Record {
    origin: Instant,
    events: Mutex<Vec<Event>>,
    /// Begin of the latest write that was acknowledged.
    latest: Mutex<Time>,
}

impl Record {
    pub fn new() -> Self {
        Self { origin: Instant::now(), events: Mutex::new(Vec::new()), latest: Mutex::new(0) }
    }

    pub fn now(&self) -> Time {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub fn add(&self, event: Event) {
        if event.what.is_write() && event.outcome == Outcome::Done {
            let mut latest = self.latest.lock().unwrap();
            *latest = (*latest).max(event.begin);
        }
        self.events.lock().unwrap().push(event);
    }

    /// Whether a write that began after `time` has been acknowledged.
    pub fn has_written_since(&self, time: Time) -> bool {
        *self.latest.lock().unwrap() > time
    }

    pub fn len(&self) -> usize {
        self.events.lock().unwrap().len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Operations from the `first`-th on, by outcome: done, refused, unknown.
    pub fn outcomes_since(&self, first: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for event in &self.events.lock().unwrap()[first..] {
            counts[event.outcome as usize] += 1;
        }
        counts
    }

    /// The longest time in which no write was acknowledged between `begin` and `end`.
    pub fn longest_gap(&self, begin: Time, end: Time) -> Time {
        let events = self.events.lock().unwrap();
        let is_success = |event: &&Event| event.what.is_write() && event.outcome == Outcome::Done;
        let mut ends: Vec<Time> = events.iter().filter(is_success).map(|event| event.end).collect();
        ends.sort_unstable();
        let mut last = ends.iter().copied().take_while(|time| *time <= begin).last().unwrap_or(begin);
        let mut longest = 0;
        for time in ends.into_iter().filter(|time| *time > begin) {
            longest = longest.max(time - last);
            last = time;
            if time >= end {
                break;
            }
        }
        longest
    }
}
