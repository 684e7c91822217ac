//! The store's objects as far as garbage matters: a head object that lists segments and holds the newest commits itself,
//! and the segments, each created, read, listed and deleted by a request of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use holdfast::vault::physical::kubernetes::SegmentObject;
use holdfast::vault::physical::{Journal, Op};

use crate::history::Violation;

/// What the head object lists, oldest first: together all commits but the newest.
pub type List = Arc<[Listed]>;
/// The content of a vault.
pub type Data = BTreeMap<String, Bytes>;

/// A commit as the store keeps it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub journal: Journal,
    pub ops: Vec<Op>,
}

impl Entry {
    pub fn apply(&self, data: &mut Data) {
        for op in &self.ops {
            match op {
                Op::Put { key, value } => data.insert(key.clone(), value.clone()),
                Op::Delete { key } => data.remove(key),
            };
        }
    }
}

/// A segment as the head object lists it: it stands for the commits after `after` up to and with `through`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub uid: String,
    pub after: u64,
    pub through: u64,
    pub is_run: bool,
}

/// What a segment holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// Commits, one by one.
    Log(Vec<Arc<Entry>>),
    /// The outcome of all commits so far, those listed after it possibly among them.
    Run(Arc<Data>),
}

/// The head object at one moment.
#[derive(Debug, Clone)]
pub struct HeadObject {
    pub list: List,
    /// The commits after those that are listed.
    pub inline: Vec<Arc<Entry>>,
}

impl HeadObject {
    /// The last commit.
    pub fn seq(&self) -> u64 {
        self.inline.last().map_or(0, |entry| entry.journal.head.seq)
    }

    /// The last commit that is listed rather than inline.
    pub fn listed_through(&self) -> u64 {
        through(&self.list)
    }
}

/// The last commit in a list; zero if it is empty.
pub fn through(list: &[Listed]) -> u64 {
    list.last().map_or(0, |listed| listed.through)
}

#[derive(Debug, Clone)]
pub enum Request {
    Create { name: String, content: Content },
    Read { wanted: Vec<Listed> },
    List,
    Head,
    Delete(SegmentObject),
}

#[derive(Debug, Clone)]
pub enum Response {
    /// With its uid; `None` if the name is taken.
    Created(Option<String>),
    /// One for each that was wanted.
    Contents(Vec<Option<Content>>),
    Listing(Vec<SegmentObject>),
    Head(HeadObject),
    Deleted,
}

/// All segments of the store, and the list in its head object after each commit.
#[derive(Default)]
pub struct Objects {
    segments: BTreeMap<String, (String, Content)>,
    lists: Vec<List>,
    uids: u64,
    /// What somebody found missing.
    pub damage: Option<Violation>,
    pub counts: Counts,
}

/// What happened to segments, in numbers.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub written: u64,
    /// Requests to read segments.
    pub loads: u64,
    pub collected: u64,
    /// Those of them that a node deleted which did not lead any more when its request arrived.
    pub collected_late: u64,
    /// Not listed when the run was over.
    pub left: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.loads += other.loads;
        self.collected += other.collected;
        self.collected_late += other.collected_late;
        self.left += other.left;
    }
}

impl Objects {
    /// A commit was stored, with `list` if it carries one. `None` leaves the list as it is.
    pub fn committed(&mut self, list: Option<List>) {
        let list = list.or_else(|| self.lists.last().cloned()).unwrap_or_default();
        self.lists.push(list);
    }

    /// The head object as it was after the first `commits`, which are the beginning of `log`.
    pub fn head(&self, log: &[Arc<Entry>], commits: usize) -> Option<HeadObject> {
        let list = Arc::clone(self.lists.get(commits.checked_sub(1)?)?);
        let inline = log.get(through(&list) as usize..commits)?.to_vec();
        Some(HeadObject { list, inline })
    }

    /// Carries out a request; `leads` says whether it comes from the node that wrote the head.
    pub fn serve(&mut self, request: Request, log: &[Arc<Entry>], leads: bool) -> Response {
        match request {
            Request::Create { name, content } => Response::Created(self.create(name, content)),
            Request::Read { wanted } => {
                self.counts.loads += 1;
                self.look_for(&wanted, "when a node loads it");
                Response::Contents(wanted.iter().map(|listed| self.content(listed).cloned()).collect())
            }
            Request::List => {
                let object = |(name, (uid, _)): (&String, &(String, Content))| SegmentObject {
                    name: name.clone(),
                    uid: uid.clone(),
                };
                Response::Listing(self.segments.iter().map(object).collect())
            }
            Request::Head => match self.head(log, log.len()) {
                Some(head) => Response::Head(head),
                None => Response::Head(HeadObject { list: List::default(), inline: Vec::new() }),
            },
            Request::Delete(object) => {
                if self.segments.get(&object.name).is_some_and(|(uid, _)| *uid == object.uid) {
                    self.segments.remove(&object.name);
                    self.counts.collected += 1;
                    self.counts.collected_late += u64::from(!leads);
                }
                Response::Deleted
            }
        }
    }

    fn create(&mut self, name: String, content: Content) -> Option<String> {
        if self.segments.contains_key(&name) {
            return None;
        }
        self.uids += 1;
        self.counts.written += 1;
        let uid = format!("uid-{}", self.uids);
        self.segments.insert(name, (uid.clone(), content));
        Some(uid)
    }

    fn content(&self, listed: &Listed) -> Option<&Content> {
        self.segments.get(&listed.name).filter(|(uid, _)| *uid == listed.uid).map(|(_, content)| content)
    }

    /// Notes a violation if the head object lists one of `wanted` now and it is not there.
    fn look_for(&mut self, wanted: &[Listed], when: &str) {
        let list = self.lists.last().cloned().unwrap_or_default();
        let gone = wanted.iter().find(|wanted| list.contains(wanted) && self.content(wanted).is_none());
        if let Some(gone) = gone {
            let Listed { name, after, through, .. } = gone;
            let text =
                format!("a listed segment is gone {when}: {name} with the commits {after}..={through}");
            self.damage.get_or_insert(Violation(text));
        }
    }

    /// Whether everything that is listed is there, and leads, with what is inline, to what was committed.
    pub fn judge(&mut self, log: &[Arc<Entry>], committed: &Data) -> Result<(), Violation> {
        let Some(head) = self.head(log, log.len()) else {
            return Err(Violation("the head object makes no sense".to_owned()));
        };
        let is_listed = |name: &&String| head.list.iter().any(|listed| listed.name == **name);
        self.counts.left = self.segments.keys().filter(|name| !is_listed(name)).count() as u64;
        self.look_for(&head.list, "at the end");
        if let Some(violation) = &self.damage {
            return Err(violation.clone());
        }
        let mut data = Data::new();
        let logged = |content: Option<&Content>, data: &mut Data| match content {
            Some(Content::Run(run)) => data.clone_from(run),
            Some(Content::Log(entries)) => entries.iter().for_each(|entry| entry.apply(data)),
            None => {}
        };
        head.list.iter().for_each(|listed| logged(self.content(listed), &mut data));
        head.inline.iter().for_each(|entry| entry.apply(&mut data));
        if data == *committed {
            return Ok(());
        }
        Err(Violation(format!("segments lead to {data:?} where {committed:?} was committed")))
    }
}
