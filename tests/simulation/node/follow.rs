//! How a node's memory follows the head object: through the commits that it holds, through logs if the node has lagged
//! behind those, and by loading everything when it starts or has lagged far behind.

use std::sync::Arc;
use std::time::Duration;

use holdfast::vault::ha::committer::Send;
use holdfast::vault::ha::election::Event as News;
use holdfast::vault::physical::Journal;

use super::answers::Asked;
use super::{Node, segments};
use crate::storage::Page;
use crate::storage::objects::{Content, Entry, HeadObject, List, Listed, Request, Response};
use crate::variant::Variant;
use crate::world::event::{Ask, Effect, View};

/// How long the journal is left alone after it did not answer.
const PAUSE: Duration = Duration::from_millis(150);

impl Node {
    /// The watch says that the storage has changed.
    pub(super) fn fed(&mut self, view: &View<'_>) {
        if view.semantics.is_object() {
            view.head_object().into_iter().for_each(|object| self.follow(object, view));
        } else {
            self.turn_page();
        }
    }

    /// Asks for the next records of the journal.
    pub(super) fn turn_page(&mut self) {
        self.page_at = None;
        if self.is_paging {
            self.has_grown = true;
            return;
        }
        self.is_paging = true;
        self.has_grown = false;
        self.ask(Asked::Page, Ask::Page { after: self.position });
    }

    /// Takes in records of the journal; `None` is silence.
    pub(super) fn paged(&mut self, page: Option<Page>, view: &View<'_>) {
        self.is_paging = false;
        match page {
            None => self.page_at = Some(view.now.plus(PAUSE)),
            Some(Page::Records(records)) => {
                records.iter().for_each(|record| self.take(record, view));
                if !records.is_empty() || self.has_grown {
                    self.turn_page();
                }
            }
            Some(Page::Reset(head)) => {
                if head.seq > self.position {
                    self.cache.reset(head.seq);
                    self.position = head.seq;
                    self.last_head = Some(head.clone());
                }
                self.news(News::Saw(head), view);
                self.turn_page();
            }
        }
    }

    /// Takes in a head object, which may be old, as far as memory allows; what is missing is asked for.
    pub(super) fn follow(&mut self, object: HeadObject, view: &View<'_>) {
        if object.seq() < self.position {
            return;
        }
        if self.position < object.listed_through() {
            let load = self.segments.load(object, self.position);
            self.ask_objects(load);
            return;
        }
        for entry in &object.inline {
            self.take(entry, view);
        }
        self.segments.adopt(&object.list, object.seq());
    }

    /// Moves memory on by the next commit.
    fn take(&mut self, entry: &Arc<Entry>, view: &View<'_>) {
        let head = &entry.journal.head;
        if head.seq <= self.position {
            return;
        }
        if head.seq != self.position + 1 {
            let gap =
                format!("commit {} follows commit {} in what node {} read", head.seq, self.position, self.id);
            self.out.push(Effect::Damage(gap));
        }
        let is_lost = self.variant == Variant::LossyFeed && view.random.below(20) == 0;
        if !view.semantics.is_object() {
            self.cache.follow(&entry.journal.keys, head.seq, is_lost);
        } else if !is_lost {
            entry.apply(&mut self.data);
        }
        self.position = head.seq;
        self.last_head = Some(head.clone());
        self.segments.took(entry);
        if let Some(committer) = &mut self.committer {
            let done = committer.on_journal(&entry.journal);
            self.finish(done);
        }
        self.news(News::Saw(head.clone()), view);
    }

    /// A commit of this node is in the store: memory has it too, and what it lists is listed.
    pub(super) fn stored(&mut self, send: &Send, list: Option<List>, view: &View<'_>) {
        self.cache.note(send.next.seq);
        if self.position + 1 != send.next.seq {
            return;
        }
        if !view.semantics.is_object() {
            self.cache.committed(&send.ops, send.next.seq);
            self.position = send.next.seq;
            self.last_head = Some(send.next.clone());
            return;
        }
        let keys = send.ops.iter().map(|op| op.key().to_owned()).collect();
        let journal = Journal { head: send.next.clone(), replaced: None, keys };
        let entry = Arc::new(Entry { journal, ops: send.ops.clone() });
        entry.apply(&mut self.data);
        self.position = send.next.seq;
        self.last_head = Some(send.next.clone());
        self.segments.took(&entry);
        if let Some(list) = list {
            self.segments.adopt(&list, self.position);
        }
    }

    pub(super) fn ask_objects(&mut self, requests: impl IntoIterator<Item = (segments::Asked, Request)>) {
        for (asked, request) in requests {
            self.ask(Asked::Objects(asked), Ask::Objects(request));
        }
    }

    /// The answer to a request about objects; `None` is silence.
    pub(super) fn objects_answered(
        &mut self,
        asked: segments::Asked,
        response: Option<Response>,
        view: &View<'_>,
    ) {
        match (asked, response) {
            (segments::Asked::Load { object, wanted }, response) => {
                self.segments.is_loading = false;
                self.loaded(object, &wanted, response, view);
            }
            (asked, response) => {
                if let Some(Response::Head(head)) = &response {
                    self.follow(head.clone(), view);
                }
                let next = self.segments.answered(asked, response, view.now);
                self.ask_objects(next);
            }
        }
    }

    fn loaded(&mut self, object: HeadObject, wanted: &[Listed], response: Option<Response>, view: &View<'_>) {
        let contents: Option<Vec<Content>> = match response {
            Some(Response::Contents(contents)) => contents.into_iter().collect(),
            _ => {
                // Silence: once more, to whatever the head is now.
                view.head_object().into_iter().for_each(|newest| self.follow(newest, view));
                return;
            }
        };
        let Some(contents) = contents else {
            // A segment was replaced meanwhile: a newer head tells by what.
            let newest = view.head_object().filter(|newest| newest.seq() > object.seq());
            newest.into_iter().for_each(|newest| self.follow(newest, view));
            return;
        };
        if object.seq() <= self.position {
            return;
        }
        for (listed, content) in wanted.iter().zip(&contents) {
            match content {
                Content::Run(run) => {
                    self.data = run.as_ref().clone();
                    self.position = listed.through;
                    self.segments.took_run();
                }
                Content::Log(entries) => entries.iter().for_each(|entry| self.take(entry, view)),
            }
        }
        self.follow(object, view);
    }
}
