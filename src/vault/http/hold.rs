//! [`Hold`]: requests that wait for a leader, bounded in count and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most requests that wait at a time.
const REQUESTS: usize = 1024;
/// Most bytes of bodies that wait at a time.
const BYTES: usize = 64 << 20;

/// The requests that wait for a leader.
#[derive(Debug, Default)]
pub(super) struct Hold {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place among those that wait; given back on drop.
#[derive(Debug)]
pub(super) struct Held {
    hold: Arc<Hold>,
    bytes: usize,
}

impl Hold {
    /// A place for a request with a body of `bytes`; `None` if too much waits already.
    pub(super) fn enter(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let held = Held { hold: Arc::clone(self), bytes };
        let requests = self.requests.fetch_add(1, Ordering::AcqRel) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        (requests <= REQUESTS && total <= BYTES).then_some(held)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hold.requests.fetch_sub(1, Ordering::AcqRel);
        self.hold.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_count_and_bytes_and_given_back() {
        let hold = Arc::new(Hold::default());
        let mut held: Vec<_> = (0..REQUESTS).map(|_| hold.enter(0).unwrap()).collect();
        assert!(hold.enter(0).is_none());
        held.pop();
        assert!(hold.enter(BYTES + 1).is_none());
        let last = hold.enter(BYTES).unwrap();
        assert_eq!(hold.count(), REQUESTS);
        drop((held, last));
        assert_eq!(hold.count(), 0);
    }
}
