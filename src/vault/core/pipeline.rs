//! The one pipeline: route → authenticate → authorise → audit → dispatch → commit → audit → respond.

use std::sync::{Arc, PoisonError};

use super::audit::AuditEvent;
use super::call::{Body, Call, Effect, Outcome, Reply};
use super::error::CoreError;
use super::gate::{Granted, Stop, refuse, request};
use super::open::Open;
use super::parts::Core;
use super::respond::{self, Answer};
use super::step::Step;
use super::token::TokenEntry;
use crate::vault::barrier::{BarrierTransaction, Keys};
use crate::vault::logical::{LogicalError, Operation, Principal};
use crate::vault::physical::{Consistency, Ledger, SubmitError};

/// How often a request is run again because others changed what it had read.
const MAX_ATTEMPTS: u32 = 20;

/// How often a request is run again because its engine met what cannot be, and had not read one state.
const MAX_TORN: u32 = 40;
/// As [`MAX_TORN`], on a standby. While one secret is written a thousand times a second every second run there ends so on a
/// busy machine. The active node has at hand what it has just written, and is hardly ever overtaken.
const MAX_TORN_STANDBY: u32 = 8;

/// What one run of a request gave.
enum Attempt {
    /// An answer that is to be committed or confirmed.
    Done(Box<Done>),
    /// The token has a use limit: take one use first, in a commit of its own.
    TakeUse(Arc<TokenEntry>),
    /// Commits came in between its reads, and the engine could make no sense of them together.
    Torn,
    /// The active node must do it.
    NeedsActive,
    /// No answer.
    Failed(CoreError),
}

struct Done {
    status: u16,
    body: Body,
    principal: Principal,
    effect: Option<Effect>,
    keys: Option<Keys>,
}

/// What is remembered between the runs of one request.
#[derive(Default)]
struct Progress {
    /// The token of which a use was taken.
    used: Option<Arc<TokenEntry>>,
    /// Whether that was its last one.
    was_last: bool,
    /// Whether the audit devices know of the request.
    audited: bool,
    /// Runs that read no single state.
    torn: u32,
}

impl Core {
    /// Carries a request out on `ledger`.
    pub async fn handle(&self, ledger: Arc<dyn Ledger>, call: Call) -> Outcome {
        let Some(open) = self.open.load_full() else { return Outcome::Failed(CoreError::Sealed) };
        // A standby reads. What may write goes to the active node before anything is spent on it.
        if !ledger.is_writable() && (call.operation.may_write() || call.wrap_ttl_seconds.is_some()) {
            return Outcome::NeedsActive;
        }
        let mut progress = Progress::default();
        let outcome = self.run(&open, &ledger, &call, &mut progress).await;
        if let Some(used) = progress.used.filter(|_| progress.was_last) {
            // The sweep repeats this if it fails.
            if let Err(error) = self.step(&open, &ledger, &Step::EndUse(used.key.clone())).await {
                tracing::warn!(error = %error, "a used-up token is left to the sweep");
            }
        }
        outcome
    }

    async fn run(
        &self,
        open: &Arc<Open>,
        ledger: &Arc<dyn Ledger>,
        call: &Call,
        progress: &mut Progress,
    ) -> Outcome {
        let mut attempts = 0;
        while attempts < MAX_ATTEMPTS {
            // Every run begins anew: what an earlier one saw of a failed batch is void for good.
            let pass = match ledger.begin(call.staleness_ms()).await {
                Ok(pass) => pass,
                Err(error) => return failed(error),
            };
            // A pure read sees committed state; what may write, or met a conflict, builds on what is queued.
            let pending = call.operation.may_write() || attempts > 0 || progress.used.is_some();
            let consistency = if pending { Consistency::Pending } else { Consistency::Committed };
            let transaction =
                BarrierTransaction::new(Arc::clone(ledger), Arc::clone(&open.barrier), consistency);
            let done = match self.attempt(open, &transaction, call, progress).await {
                Attempt::Done(done) => *done,
                Attempt::TakeUse(entry) => {
                    match self.step(open, ledger, &Step::TakeUse(entry.key.clone())).await {
                        Ok(was_last) => {
                            progress.used = Some(entry);
                            progress.was_last = was_last;
                            continue;
                        }
                        Err(CoreError::Invalid(_)) => {
                            // Another request took the last use meanwhile; the next run sees that.
                            attempts += 1;
                            continue;
                        }
                        Err(error) => return Outcome::Failed(error),
                    }
                }
                Attempt::Torn => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Attempt::NeedsActive => return Outcome::NeedsActive,
                Attempt::Failed(error) => return Outcome::Failed(error),
            };
            let submitted = if transaction.has_writes() {
                match transaction.finish() {
                    Ok(transaction) => ledger.submit(transaction).await,
                    Err(error) => return Outcome::Failed(error.into()),
                }
            } else {
                ledger.confirm(&pass, transaction.newest_read()).await
            };
            match submitted {
                Ok(confirmed) => {
                    if let Some(keys) = done.keys {
                        open.barrier.install(keys);
                    }
                    let reply =
                        Reply { status: done.status, body: done.body, confirmed, effect: done.effect };
                    let event = AuditEvent::Response { call, principal: &done.principal, reply: &reply };
                    return match self.parts().audit.write(&event).await {
                        Ok(()) => Outcome::Reply(reply),
                        Err(error) => Outcome::Failed(error),
                    };
                }
                Err(SubmitError::Conflict | SubmitError::NotApplied) => {
                    attempts += 1;
                    tracing::debug!(request_id = call.id, attempts, "a request is run again");
                    tokio::task::yield_now().await;
                }
                Err(error) => return failed(error),
            }
        }
        Outcome::Failed(CoreError::Unavailable(
            "too many other requests changed what this one read".to_owned(),
        ))
    }

    async fn attempt(
        &self,
        open: &Arc<Open>,
        transaction: &BarrierTransaction,
        call: &Call,
        progress: &mut Progress,
    ) -> Attempt {
        let mut principal = Principal::default();
        let mut effect = None;
        let mut keys = None;
        let result = self.decide(open, transaction, call, progress, &mut principal).await;
        let answer = match result {
            Err(Stop::TakeUse(entry)) => return Attempt::TakeUse(entry),
            Err(Stop::Failed(error)) => return Attempt::Failed(error),
            Err(Stop::Answer(answer)) => {
                // What is refused before it is authorised is audited as well.
                if let Answer::Body { body, .. } = &answer
                    && let Err(error) =
                        self.audit_request(call, &principal, first_error(body), progress).await
                {
                    return Attempt::Failed(error);
                }
                answer
            }
            Ok(Granted { routed, request, caller }) => {
                let kernel = self.kernel(open, transaction, &routed, caller, call);
                let (operation, answer) = (request.operation, kernel.dispatch(&routed, &request).await);
                effect = *kernel.effect.lock().unwrap_or_else(PoisonError::into_inner);
                keys = kernel.keys.lock().unwrap_or_else(PoisonError::into_inner).take();
                if matches!(answer, Err(LogicalError::Internal(_))) && transaction.is_torn() {
                    let is_standby = !transaction.ledger().is_writable();
                    let most = if is_standby { MAX_TORN_STANDBY } else { MAX_TORN };
                    if progress.torn < most {
                        progress.torn += 1;
                        return Attempt::Torn;
                    }
                    if is_standby {
                        return Attempt::NeedsActive;
                    }
                }
                respond::answer(&call.id, operation, answer)
            }
        };
        match answer {
            Answer::NeedsActive => Attempt::NeedsActive,
            Answer::Failed(error) => Attempt::Failed(error),
            Answer::Body { status, body, keep } => {
                if !keep {
                    transaction.discard_writes();
                    (effect, keys) = (None, None);
                }
                Attempt::Done(Box::new(Done { status, body, principal, effect, keys }))
            }
        }
    }

    /// Everything before the engine runs.
    async fn decide<'c>(
        &self,
        open: &Arc<Open>,
        transaction: &BarrierTransaction,
        call: &'c Call,
        progress: &mut Progress,
        principal: &mut Principal,
    ) -> Result<Granted<'c>, Stop> {
        if call.wrap_ttl_seconds.is_some() {
            // Sending the secret unwrapped would be worse than refusing.
            return refuse(400, "response wrapping is not supported by this version");
        }
        let is_store = matches!(call.operation, Operation::Create | Operation::Update | Operation::Patch);
        if is_store && call.path.ends_with('/') {
            return refuse(400, "cannot write to a path ending in '/'");
        }
        let routed = self.route(open, transaction, call.operation, &call.path).await?;
        if routed.traits.active_only && !transaction.ledger().is_writable() {
            return Err(Stop::Answer(Answer::NeedsActive));
        }
        let caller = self.authenticate(open, transaction, call, &routed, progress.used.is_some()).await?;
        let mut request = request(call, &routed, caller.as_deref());
        let allowed = self.authorise(open, transaction, call, &routed, caller.as_ref(), &mut request).await?;
        *principal = request.principal.clone();
        let refused = if allowed { None } else { Some("permission denied") };
        self.audit_request(call, principal, refused, progress).await.map_err(Stop::Failed)?;
        if let Some(text) = refused {
            return refuse(403, text);
        }
        match &routed.target {
            None => {
                let text = format!("no handler for route {:?}. route entry not found.", call.path);
                refuse(404, &text)
            }
            Some(_) => Ok(Granted { routed, request, caller }),
        }
    }

    /// Tells the audit devices of a request, once.
    async fn audit_request(
        &self,
        call: &Call,
        principal: &Principal,
        error: Option<&str>,
        progress: &mut Progress,
    ) -> Result<(), CoreError> {
        if std::mem::replace(&mut progress.audited, true) {
            return Ok(());
        }
        self.parts().audit.write(&AuditEvent::Request { call, principal, error }).await
    }
}

/// The first error text of a refusal.
fn first_error(body: &Body) -> Option<&str> {
    match body {
        Body::Json(body) => body.get("errors")?.get(0)?.as_str(),
        Body::Empty | Body::Raw { .. } => None,
    }
}

fn failed(error: SubmitError) -> Outcome {
    match error {
        SubmitError::NotActive => Outcome::NeedsActive,
        other => Outcome::Failed(other.into()),
    }
}

pub(super) fn core_error(error: LogicalError) -> CoreError {
    match error {
        LogicalError::Unavailable(text) => CoreError::Unavailable(text),
        LogicalError::Refused { class, message } => CoreError::Refused { class, message },
        LogicalError::Invalid(text) => CoreError::Invalid(text),
        other => CoreError::Internal(other.to_string()),
    }
}
