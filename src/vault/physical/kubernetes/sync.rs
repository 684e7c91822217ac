//! Following the head object: watch, poll, and what a newly seen head means for memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::WatchEvent;

use super::backend::Shared;
use super::client::{head_of, unavailable};
use super::counters::count;
use super::state::{Loaded, State, version};
use super::{load, pay};
use crate::crd::store::{VaultStoreHead, VaultStoreHeadSpec};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;

/// Reads of the head object while it changes faster than its segments can be read.
const ATTEMPTS: usize = 5;

/// What a seen head object means for memory.
enum Step {
    /// Memory stands at it, or beyond it.
    Done,
    /// Segments must be read to get there.
    Behind,
    /// It is older than memory, or of another history; or only the answer is old.
    Odd,
    /// The storage went back, or the object was replaced: memory counts for nothing.
    Replaced,
}

/// What was known before a quorum read was sent: an answer below it is no late answer.
struct Sent {
    head: Option<Head>,
    noted: Position,
    version: u128,
}

/// Follows the head object until the instance is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = refresh(&shared).await {
            tracing::warn!(%error, "cannot read the storage");
            tokio::time::sleep(shared.settings.poll()).await;
            continue;
        }
        let version = shared.state().meta.as_ref().and_then(|meta| meta.resource_version.clone());
        // Without an object, any version will do: what the watch tells is checked by a quorum read.
        match shared.objects.watch_head(version.as_deref().unwrap_or("0")).await {
            Ok(stream) => follow(&shared, stream).await,
            Err(error) => tracing::debug!(%error, "cannot watch the head"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Takes in events until the watch ends or turns out to be deaf.
async fn follow<S>(shared: &Shared, mut stream: S)
where
    S: futures_util::Stream<Item = Result<WatchEvent<VaultStoreHead>, kube::Error>> + Unpin,
{
    let mut poll = tokio::time::interval(shared.settings.poll());
    poll.reset();
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let must_read = tokio::select! {
            event = stream.next() => match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    poll.reset();
                    pay::observe(shared, &object);
                    !matches!(absorb(shared, &object.metadata, &object.spec, None), Ok(Step::Done))
                }
                Some(Ok(WatchEvent::Deleted(_))) => true,
                Some(Ok(WatchEvent::Bookmark(_))) => false,
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => return,
            },
            () = shared.behind.notified() => true,
            _ = poll.tick() => match polled(shared).await {
                Ok(is_current) => {
                    if !is_current {
                        // The watch should have told.
                        return;
                    }
                    false
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot poll the head");
                    false
                }
            },
        };
        if must_read && let Err(error) = refresh(shared).await {
            tracing::warn!(%error, "cannot read the storage");
            return;
        }
    }
}

/// Whether memory stands at the head that the quorum has, or beyond it.
async fn polled(shared: &Shared) -> Result<bool, StorageError> {
    let before = shared.state().position();
    let found = shared.objects.head_meta().await?;
    let head = found.as_ref().map(head_of).transpose()?.flatten();
    let state = shared.state();
    // Memory may have moved on while the answer was under way.
    Ok(state.head == head
        || (state.position() > before && state.position() > head.map(|head| head.position())))
}

/// Brings memory to the head that the quorum has now.
///
/// # Errors
/// When the API server does not answer, or what is stored is damaged.
pub(super) async fn refresh(shared: &Shared) -> Result<(), StorageError> {
    let (sent, object) = read(shared).await?;
    if let Step::Done = step(shared, object.as_ref(), &sent)? {
        return Ok(());
    }
    let _one = shared.loading.lock().await;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let (sent, object) = read(shared).await?;
        let outcome = match step(shared, object.as_ref(), &sent)? {
            Step::Done => return Ok(()),
            Step::Behind => catch_up(shared, object.as_ref(), sent.head).await,
            Step::Odd | Step::Replaced => start_again(shared, object.as_ref(), sent.head).await,
        };
        match outcome {
            Ok(()) => return Ok(()),
            // A segment may have been replaced meanwhile: the next head tells. The same head again: it is damage.
            Err(error @ StorageError::Damaged { .. }) => {
                let version = object.and_then(|object| object.metadata.resource_version);
                if last.as_ref() == Some(&version) {
                    return Err(error);
                }
                last = Some(version);
            }
            Err(error) => return Err(error),
        }
    }
    Err(unavailable("the head changes faster than its segments can be read".to_owned()))
}

type Position = Option<(u64, u64)>;

/// The head object as the quorum has it, and what was known before it was asked.
async fn read(shared: &Shared) -> Result<(Sent, Option<VaultStoreHead>), StorageError> {
    let sent = {
        let state = shared.state();
        Sent { head: state.head.clone(), noted: state.noted, version: state.meta.as_ref().map_or(0, version) }
    };
    Ok((sent, shared.objects.head().await?))
}

/// What a quorum read means.
fn step(shared: &Shared, object: Option<&VaultStoreHead>, sent: &Sent) -> Result<Step, StorageError> {
    let (step, position) = match object {
        Some(object) => {
            let position = head_of(&object.metadata)?.map(|head| head.position());
            (absorb(shared, &object.metadata, &object.spec, Some(sent))?, position)
        }
        None => (absorb_absence(shared), None),
    };
    Ok(match step {
        // Older than what was known before the question: the storage went back.
        _ if sent.noted > position => Step::Replaced,
        // An answer that a commit of our own overtook. Equal positions of different histories remain odd.
        Step::Odd if shared.state().position() > position => Step::Done,
        step => step,
    })
}

fn absorb_absence(shared: &Shared) -> Step {
    let mut state = shared.state();
    if state.head.is_some() {
        return Step::Odd;
    }
    if !state.is_loaded || state.meta.is_some() {
        state.put_back(None, Loaded::default());
        shared.moved.send_replace(());
    }
    Step::Done
}

/// Takes in a head object as far as memory allows. `sent` comes with a quorum read, `None` with an event of a watch.
///
/// Head and metadata in memory always belong to one and the same version of the object: a commit is sent with that version,
/// and the head is what it vouches for. So nothing is taken from an object that is older than the known metadata, not even
/// records that seem to continue: after a restore, late events of the lost history do.
fn absorb(
    shared: &Shared,
    meta: &ObjectMeta,
    spec: &VaultStoreHeadSpec,
    sent: Option<&Sent>,
) -> Result<Step, StorageError> {
    let head = head_of(meta)?;
    let is_known = {
        let state = shared.state();
        if !state.is_loaded {
            return Ok(Step::Behind);
        }
        if let Some(step) = judge_version(&state, meta, sent) {
            return Ok(step);
        }
        state.head == head
    };
    // Decoding happens outside the lock, and not at all for a label that somebody set.
    let records = match &head {
        Some(head) if !is_known => load::inline(spec, head)?,
        _ => Vec::new(),
    };
    let mut state = shared.state();
    // Memory may have moved while the lock was open.
    if let Some(step) = judge_version(&state, meta, sent) {
        return Ok(step);
    }
    let Some(head) = head else {
        if state.head.is_some() {
            return Ok(Step::Odd);
        }
        state.meta = Some(slim(meta.clone()));
        return Ok(Step::Done);
    };
    if state.head.is_none() {
        return Ok(Step::Behind);
    }
    if state.head.as_ref() != Some(&head) {
        if state.position() >= Some(head.position()) {
            return Ok(Step::Odd);
        }
        if !state.advance(records, &head) {
            return Ok(Step::Behind);
        }
        shared.moved.send_replace(());
    }
    Ok(if state.adopt(slim(meta.clone()), spec) { Step::Done } else { Step::Behind })
}

/// What the object's identity and version alone say; `None` if its content is to be looked at.
fn judge_version(state: &State, meta: &ObjectMeta, sent: Option<&Sent>) -> Option<Step> {
    let known = state.meta.as_ref()?;
    if known.uid != meta.uid || sent.is_some_and(|sent| version(meta) < sent.version) {
        return Some(Step::Replaced);
    }
    (version(meta) < version(known)).then_some(Step::Done)
}

/// Metadata without the field owners: the API server keeps those by itself, and they are large.
pub(super) fn slim(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta { managed_fields: None, ..meta }
}

/// Reads the logs that memory misses, or everything.
async fn catch_up(
    shared: &Shared,
    object: Option<&VaultStoreHead>,
    mut before: Option<Head>,
) -> Result<(), StorageError> {
    let Some(object) = object else { return Ok(()) };
    if let (Some(at), Some(head)) = (before.clone(), head_of(&object.metadata)?)
        && at.position() < head.position()
    {
        let newest = load::inline(&object.spec, &head)?;
        if let Some(records) = load::missed(&shared.objects, &object.spec, &at, newest).await? {
            let mut state = shared.state();
            let is_fit = judge_version(&state, &object.metadata, None).is_none();
            let is_there = is_fit && state.advance(records, &head);
            if is_there {
                before = Some(head);
                shared.moved.send_replace(());
            }
            if is_there && state.adopt(slim(object.metadata.clone()), &object.spec) {
                return Ok(());
            }
        }
    }
    start_again(shared, Some(object), before).await
}

/// Loads everything and puts it in the place of memory, if memory still stands at `before`, where it stood when the head object
/// was asked for.
async fn start_again(
    shared: &Shared,
    object: Option<&VaultStoreHead>,
    before: Option<Head>,
) -> Result<(), StorageError> {
    let (meta, loaded) = match object {
        Some(object) => {
            let head = head_of(&object.metadata)?;
            count(&shared.counting.loads);
            (Some(slim(object.metadata.clone())), load::load(&shared.objects, &object.spec, head).await?)
        }
        None => (None, Loaded::default()),
    };
    let mut state = shared.state();
    if state.head == before {
        let position = loaded.head.as_ref().map(Head::position);
        if before.is_some() && state.position() > position {
            tracing::error!(from = ?before, to = ?loaded.head, "the storage went back");
        }
        state.put_back(meta, loaded);
        shared.moved.send_replace(());
    }
    Ok(())
}
