//! How a node's memory follows the head object: through the commits that it holds, through logs if the node has lagged
//! behind those, and by loading everything when it starts or has lagged far behind.

use std::sync::Arc;

use holdfast::vault::ha::committer::Send;
use holdfast::vault::ha::election::Event as News;
use holdfast::vault::physical::Journal;

use crate::node::{Asked, Node};
use crate::objects::{Content, Entry, HeadObject, List, Listed, Request, Response};
use crate::segments;
use crate::variant::Variant;
use crate::world::{Ask, Effect, View};

impl Node {
    /// Takes in a head object, which may be old, as far as memory allows; what is missing is asked for.
    pub fn follow(&mut self, object: HeadObject, view: &View<'_>) {
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
        if !is_lost {
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
    pub fn stored(&mut self, send: &Send, list: Option<List>) {
        if self.position + 1 != send.next.seq {
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

    pub fn ask_objects(&mut self, requests: impl IntoIterator<Item = (segments::Asked, Request)>) {
        for (asked, request) in requests {
            self.ask(Asked::Objects(asked), Ask::Objects(request));
        }
    }

    /// The answer to a request about objects; `None` is silence.
    pub fn objects_answered(&mut self, asked: segments::Asked, response: Option<Response>, view: &View<'_>) {
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
