//! What a node does about segments, beside its commits and as the Kubernetes storage does it: the active one moves inline
//! commits into logs, joins those, turns old ones into a run, and collects garbage with the program's own collector.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdfast::base::clock::Moment;
use holdfast::base::random::Random;
use holdfast::vault::physical::kubernetes::{Collector, Known, SegmentObject};

use crate::storage::objects::{Content, Data, Entry, HeadObject, List, Listed, Request, Response, through};
use crate::variant::Variant;

/// The store in the names of segments.
const STORE: &str = "simulated";
/// More inline commits than these are moved into a log.
const INLINE_MOST: u64 = 4;
/// Logs are joined up to this many commits.
const LOG_MOST: u64 = 12;
/// Of a longer list, all but the newest two become one run.
const LIST_MOST: usize = 4;
/// How long an object is unlisted before it is garbage, and how often garbage is looked for: short, so that many objects
/// are collected while nodes still come and go.
const AGE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(1);

/// What is remembered with a request to the store.
#[derive(Debug)]
pub enum Asked {
    /// A segment is created in an epoch; its uid is still to come.
    Create {
        epoch: u64,
        listed: Listed,
    },
    /// What leads to this head: the logs that memory lacks, or all that it lists.
    Load {
        object: HeadObject,
        wanted: Vec<Listed>,
    },
    List,
    Refresh {
        listing: Vec<SegmentObject>,
    },
    Delete(SegmentObject),
}

/// A round of garbage collection.
enum Round {
    /// None is under way; the next begins then.
    Due(Moment),
    /// Waits for an answer.
    Asking,
}

/// The segments as one node knows them.
pub struct Segments {
    variant: Variant,
    collector: Collector,
    round: Round,
    /// The list of the head object after the commit `at`.
    list: List,
    at: u64,
    /// Commits after the last run.
    tail: VecDeque<Arc<Entry>>,
    /// The epoch of the last commit in memory, and the one that this node wrote in.
    epoch: u64,
    written_epoch: Option<u64>,
    /// Names that this node created, and those of them that are still to be listed.
    own: HashSet<String>,
    pending: HashSet<String>,
    /// Segments that are written and wait for a commit that lists them.
    ready: Vec<Listed>,
    is_rolling: bool,
    is_merging: bool,
    pub is_loading: bool,
    garbage: VecDeque<SegmentObject>,
}

impl Segments {
    pub fn new(variant: Variant) -> Self {
        Self {
            variant,
            collector: Collector::new(STORE, AGE),
            round: Round::Due(Moment::default()),
            list: List::default(),
            at: 0,
            tail: VecDeque::new(),
            epoch: 0,
            written_epoch: None,
            own: HashSet::new(),
            pending: HashSet::new(),
            ready: Vec::new(),
            is_rolling: false,
            is_merging: false,
            is_loading: false,
            garbage: VecDeque::new(),
        }
    }

    fn is_active(&self) -> bool {
        self.written_epoch == Some(self.epoch)
    }

    /// A commit of this node in `epoch` was stored.
    pub fn wrote(&mut self, epoch: u64) {
        self.written_epoch = self.written_epoch.max(Some(epoch));
    }

    /// Memory moved on by a commit.
    pub fn took(&mut self, entry: &Arc<Entry>) {
        self.epoch = entry.journal.head.epoch;
        self.tail.push_back(Arc::clone(entry));
        if !self.is_active() {
            // Another node decides now what is listed.
            self.ready.clear();
            self.pending.clear();
        }
    }

    /// Memory was replaced by a run; the commits after it follow.
    pub fn took_run(&mut self) {
        self.tail.clear();
    }

    /// The head object lists this after the commit `at`.
    pub fn adopt(&mut self, list: &List, at: u64) {
        self.at = at;
        if self.list == *list {
            return;
        }
        self.list = Arc::clone(list);
        let mut fitting = self.list.to_vec();
        let mut ready = std::mem::take(&mut self.ready);
        ready.retain(|fold| match folded(&fitting, fold) {
            Some(next) if !fitting.contains(fold) => {
                fitting = next;
                true
            }
            _ => {
                self.pending.remove(&fold.name);
                false
            }
        });
        self.ready = ready;
        let run = self.list.iter().rfind(|listed| listed.is_run).map_or(0, |listed| listed.through);
        while self.tail.front().is_some_and(|entry| entry.journal.head.seq <= run) {
            self.tail.pop_front();
        }
    }

    /// The list of a commit that replaces the head after the commit `expected`; `None` if memory is not there.
    pub fn draft(&self, expected: u64) -> Option<List> {
        (self.at == expected).then(|| self.with_ready().into())
    }

    fn with_ready(&self) -> Vec<Listed> {
        let mut list = self.list.to_vec();
        for fold in &self.ready {
            list = folded(&list, fold).unwrap_or(list);
        }
        list
    }

    /// Segments worth writing, now that memory stands at `position` with `data`.
    pub fn write(&mut self, position: u64, data: &Data, random: &dyn Random) -> Vec<(Asked, Request)> {
        if !self.is_active() {
            return Vec::new();
        }
        let list = self.with_ready();
        let roll = self.roll(&list, position, random);
        roll.into_iter().chain(self.merge(&list, data, random)).collect()
    }

    fn roll(&mut self, list: &[Listed], position: u64, random: &dyn Random) -> Option<(Asked, Request)> {
        let start = through(list);
        let inline = position.saturating_sub(start);
        if self.is_rolling || inline <= INLINE_MOST {
            return None;
        }
        let joined = list.last().filter(|log| !log.is_run && log.through - log.after + inline <= LOG_MOST);
        let after = joined.map_or(start, |log| log.after);
        let of_span = |entry: &&Arc<Entry>| (after + 1..=position).contains(&entry.journal.head.seq);
        let entries: Vec<_> = self.tail.iter().filter(of_span).cloned().collect();
        self.is_rolling = true;
        Some(self.create(after, position, Content::Log(entries), random))
    }

    fn merge(&mut self, list: &[Listed], data: &Data, random: &dyn Random) -> Option<(Asked, Request)> {
        let is_waiting = self.ready.iter().any(|fold| fold.is_run);
        if self.is_merging || is_waiting || list.len() <= LIST_MOST {
            return None;
        }
        self.is_merging = true;
        let run = Content::Run(Arc::new(data.clone()));
        Some(self.create(0, list[list.len() - 3].through, run, random))
    }

    fn create(
        &mut self,
        after: u64,
        through: u64,
        content: Content,
        random: &dyn Random,
    ) -> (Asked, Request) {
        let mut unique = [0; 8];
        random.fill(&mut unique);
        let name = format!("{STORE}-{}-{:016x}", self.epoch, u64::from_be_bytes(unique));
        self.own.insert(name.clone());
        self.pending.insert(name.clone());
        let is_run = matches!(content, Content::Run(_));
        let listed = Listed { name: name.clone(), uid: String::new(), after, through, is_run };
        (Asked::Create { epoch: self.epoch, listed }, Request::Create { name, content })
    }

    /// What to read to get from `position` to the head of `object`: the logs in between, or everything.
    pub fn load(&mut self, object: HeadObject, position: u64) -> Option<(Asked, Request)> {
        if self.is_loading {
            return None;
        }
        self.is_loading = true;
        let missed = object.list.iter().filter(|listed| listed.through > position);
        let wanted: Vec<Listed> = if missed.clone().all(|listed| !listed.is_run) {
            missed.cloned().collect()
        } else {
            object.list.to_vec()
        };
        Some((Asked::Load { object, wanted: wanted.clone() }, Request::Read { wanted }))
    }

    /// When garbage is to be looked for; `None` if not by this node, or not yet.
    pub fn wake_at(&self) -> Option<Moment> {
        match self.round {
            Round::Due(at) if self.is_active() => Some(at),
            _ => None,
        }
    }

    /// Begins a round of garbage collection if it is time.
    pub fn tick(&mut self, now: Moment) -> Option<(Asked, Request)> {
        let Round::Due(at) = self.round else { return None };
        if !self.is_active() {
            self.collector.reset();
            self.round = Round::Due(now.plus(PAUSE));
            return None;
        }
        if now < at {
            return None;
        }
        self.round = Round::Asking;
        Some((Asked::List, Request::List))
    }

    /// Takes the answer to anything but a load; `None` is silence. With a [`Asked::Refresh`], memory has taken in the
    /// head already.
    pub fn answered(
        &mut self,
        asked: Asked,
        response: Option<Response>,
        now: Moment,
    ) -> Option<(Asked, Request)> {
        match (asked, response) {
            (Asked::Create { epoch, listed }, response) => {
                self.created(epoch, listed, response);
                return None;
            }
            (Asked::List, Some(Response::Listing(listing))) => {
                if self.variant != Variant::CollectsCurrentSegments {
                    return Some((Asked::Refresh { listing }, Request::Head));
                }
                self.garbage = collect_what_is_unlisted(listing, &self.list);
            }
            (Asked::Refresh { listing }, Some(Response::Head(head))) => {
                if self.is_active() && self.at >= head.seq() {
                    self.garbage = self.judge(&listing, now).into();
                }
            }
            (Asked::Delete(object), Some(Response::Deleted)) => self.collector.deleted(&object.uid),
            _ => self.garbage.clear(),
        }
        let next = self.garbage.pop_front();
        if next.is_none() {
            self.round = Round::Due(now.plus(PAUSE));
        }
        next.map(|object| (Asked::Delete(object.clone()), Request::Delete(object)))
    }

    fn judge(&mut self, listing: &[SegmentObject], now: Moment) -> Vec<SegmentObject> {
        let needed = self.list.iter().map(|listed| listed.name.clone()).collect();
        let known = Known { epoch: self.epoch, needed: &needed, busy: &self.pending, own: &self.own };
        self.collector.judge(listing, &known, now)
    }

    fn created(&mut self, epoch: u64, listed: Listed, response: Option<Response>) {
        if listed.is_run {
            self.is_merging = false;
        } else {
            self.is_rolling = false;
        }
        match response {
            Some(Response::Created(Some(uid))) if self.is_active() && self.epoch == epoch => {
                self.ready.push(Listed { uid, ..listed });
            }
            // It may exist all the same: garbage.
            _ => {
                self.pending.remove(&listed.name);
            }
        }
    }
}

/// The wrong collector: everything that the head does not list, as this node last saw it, however young it is and
/// whoever is about to list it.
fn collect_what_is_unlisted(listing: Vec<SegmentObject>, list: &[Listed]) -> VecDeque<SegmentObject> {
    listing.into_iter().filter(|object| list.iter().all(|listed| listed.name != object.name)).collect()
}

/// The list with `fold` in the place of what it replaces; `None` if it does not fit.
fn folded(list: &[Listed], fold: &Listed) -> Option<Vec<Listed>> {
    let before = list.iter().filter(|listed| listed.through <= fold.after);
    let after = list.iter().filter(|listed| listed.after >= fold.through);
    let folded: Vec<Listed> = before.chain([fold]).chain(after).cloned().collect();
    let is_whole = folded.windows(2).all(|two| two[0].through == two[1].after);
    let covers = through(&folded) >= through(list) && folded.first().is_some_and(|first| first.after == 0);
    (is_whole && covers).then_some(folded)
}
