//! [`JournalFeed`]: the feed of every storage whose journal is read page by page.
//!
//! What wakes a reader (a watch, a blocking query, a notification) may be lost or come twice; the journal alone is
//! believed. The next page is asked for from the record that was delivered last, and only if that very record
//! comes first is the rest known to continue it.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use super::backend::{Feed, FeedEvent, Journal, StorageError};
use super::head::Head;

/// Records of a page.
const PAGE: usize = 256;

/// A part of the journal with the head of the state that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPage {
    /// The head; `None` if the store holds none.
    pub head: Option<Head>,
    /// Records in the order of their sequence numbers.
    pub records: Vec<Journal>,
}

/// A journal that is read page by page.
#[async_trait]
pub trait JournalSource: Send + Sync {
    /// The records whose sequence numbers are `from_seq` or higher, at most `limit`, and the head, both of one and the
    /// same state, which is no older than any that this source returned before.
    ///
    /// # Errors
    /// When the storage cannot be reached or read.
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError>;

    /// Waits until the head may be another one than `seen`, at most about a second. Cancel-safe.
    ///
    /// # Errors
    /// When the storage cannot be reached.
    async fn wait(&self, seen: Option<&Head>) -> Result<(), StorageError>;
}

/// Follows a [`JournalSource`].
pub struct JournalFeed<S: ?Sized> {
    source: Arc<S>,
    /// The head that was delivered last (inner `None`: that the store is empty); `None` before the first Reset.
    at: Option<Option<Head>>,
    /// What was read and not delivered yet; its first record continues `at`.
    ready: VecDeque<Journal>,
}

impl<S: JournalSource + ?Sized> JournalFeed<S> {
    /// A feed of what follows `from`; without it, it begins with a Reset.
    pub fn new(source: Arc<S>, from: Option<Head>) -> Self {
        Self { source, at: from.map(Some), ready: VecDeque::new() }
    }

    fn reset(&mut self, head: Option<Head>) -> FeedEvent {
        self.at = Some(head.clone());
        self.ready.clear();
        FeedEvent::Reset { head }
    }
}

/// The records of `page` that continue `at`; `None` if it does not show that they do.
fn continuing(at: &Head, page: Vec<Journal>) -> Option<VecDeque<Journal>> {
    let mut records = VecDeque::from(page);
    let first = records.pop_front()?;
    let mut last = &first.head;
    if last != at {
        return None;
    }
    for record in &records {
        if record.head.seq != last.seq + 1 || record.head.cluster != last.cluster {
            return None;
        }
        last = &record.head;
    }
    Some(records)
}

#[async_trait]
impl<S: JournalSource + ?Sized> Feed for JournalFeed<S> {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.at = Some(Some(record.head.clone()));
                return Ok(FeedEvent::Record(record));
            }
            let from_seq = self.at.as_ref().and_then(Option::as_ref).map_or(u64::MAX, |head| head.seq);
            let page = self.source.page(from_seq, PAGE).await?;
            if self.at.as_ref() == Some(&page.head) {
                let seen = page.head;
                self.source.wait(seen.as_ref()).await?;
                continue;
            }
            match self.at.as_ref().and_then(Option::as_ref).and_then(|at| continuing(at, page.records)) {
                Some(records) if !records.is_empty() => self.ready = records,
                _ => return Ok(self.reset(page.head)),
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SeededRandom;
    use crate::vault::physical::head::{BatchId, LockName};

    fn head(seq: u64, batch: u64) -> Head {
        Head {
            cluster: "c".into(),
            lock: LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "l".to_owned() }
                .into(),
            epoch: 1,
            seq,
            batch_id: BatchId::new(&SeededRandom::new(batch)),
            node: "n".into(),
            format: 1,
            time: UnixMillis(0),
        }
    }

    fn record(seq: u64) -> Journal {
        Journal { head: head(seq, seq), replaced: None, keys: Vec::new() }
    }

    #[derive(Default)]
    struct Pages(Mutex<(Option<Head>, Vec<Journal>)>);

    impl Pages {
        fn set(&self, head: Option<Head>, records: Vec<Journal>) {
            *self.0.lock().unwrap() = (head, records);
        }
    }

    #[async_trait]
    impl JournalSource for Pages {
        async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
            let (head, records) = self.0.lock().unwrap().clone();
            let records = records.into_iter().filter(|r| r.head.seq >= from_seq).take(limit).collect();
            Ok(JournalPage { head, records })
        }

        async fn wait(&self, _seen: Option<&Head>) -> Result<(), StorageError> {
            std::future::pending().await
        }
    }

    async fn next(feed: &mut JournalFeed<Pages>) -> Option<FeedEvent> {
        tokio::time::timeout(std::time::Duration::from_millis(50), feed.next()).await.ok().map(Result::unwrap)
    }

    #[tokio::test]
    async fn records_are_delivered_in_order_and_pages_are_joined() {
        let pages = Arc::new(Pages::default());
        let many: Vec<Journal> = (1..=600).map(record).collect();
        pages.set(Some(head(600, 600)), many.clone());
        let mut feed = JournalFeed::new(pages, Some(head(1, 1)));
        for expected in &many[1..] {
            assert_eq!(next(&mut feed).await, Some(FeedEvent::Record(expected.clone())));
        }
        assert_eq!(next(&mut feed).await, None, "nothing more");
    }

    #[tokio::test]
    async fn what_does_not_continue_is_a_reset() {
        let reset = |head: Option<Head>| Some(FeedEvent::Reset { head });
        let cases = [
            ("trimmed", Some(head(9, 9)), vec![record(8), record(9)]),
            ("another history", Some(head(5, 50)), vec![record(4), record(5)]),
            ("a gap", Some(head(7, 7)), vec![record(5), record(7)]),
            ("went back", Some(head(4, 4)), vec![record(4)]),
            ("emptied", None, vec![]),
        ];
        for (what, now, records) in cases {
            let pages = Arc::new(Pages::default());
            pages.set(now.clone(), records);
            let at = if what == "another history" { head(5, 51) } else { head(5, 5) };
            let mut feed = JournalFeed::new(pages, Some(at));
            assert_eq!(next(&mut feed).await, reset(now), "{what}");
            assert_eq!(next(&mut feed).await, None, "{what}: and then nothing");
        }
    }

    #[tokio::test]
    async fn without_a_start_it_begins_with_what_is_there() {
        let pages = Arc::new(Pages::default());
        let mut feed = JournalFeed::new(Arc::clone(&pages), None);
        assert_eq!(next(&mut feed).await, Some(FeedEvent::Reset { head: None }));
        pages.set(Some(head(1, 1)), vec![record(1)]);
        let mut feed = JournalFeed::new(pages, None);
        assert_eq!(next(&mut feed).await, Some(FeedEvent::Reset { head: Some(head(1, 1)) }));
    }
}
