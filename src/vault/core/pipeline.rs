//! The one pipeline: route → authenticate → authorise → audit → dispatch → commit → audit → respond.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::audit::AuditEvent;
use super::call::{Body, Call, Effect, Outcome, Reply};
use super::error::CoreError;
use super::kernel::Kernel;
use super::mounts::{Dispatch, Mounted, Router};
use super::open::{self, Open};
use super::parts::Core;
use super::policy::{self, Ask};
use super::respond::{self, Answer};
use super::step::Step;
use super::token::{IssuedToken, NewToken, TokenEntry, TokenStore};
use crate::vault::barrier::{BarrierTransaction, Keyring};
use crate::vault::logical::{LogicalError, Login, Operation, Principal, Request, Response, RouteTraits};
use crate::vault::physical::{Consistency, Ledger, ReadPass, SubmitError};

/// How often a request is run again because others changed what it had read.
const MAX_ATTEMPTS: u32 = 20;

/// What one run of a request gave.
enum Attempt {
    /// An answer that is to be committed or confirmed.
    Done(Box<Done>),
    /// The token has a use limit: take one use first, in a commit of its own.
    TakeUse(Arc<TokenEntry>),
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
    ring: Option<Keyring>,
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
}

/// A routed request: its mount, the path inside it, and what the engine says of it.
struct Routed<'c> {
    router: Arc<Router>,
    target: Option<(Arc<Mounted>, &'c str)>,
    traits: RouteTraits,
}

impl Core {
    /// Carries a request out on `ledger`.
    pub async fn handle(&self, ledger: Arc<dyn Ledger>, call: Call) -> Outcome {
        let Some(open) = self.open.load_full() else { return Outcome::Failed(CoreError::Sealed) };
        // A standby reads. What may write goes to the active node before anything is spent on it.
        if !ledger.is_writable() && (call.operation.may_write() || call.wrap_ttl_seconds.is_some()) {
            return Outcome::NeedsActive;
        }
        let pass = match ledger.begin(call.max_staleness_ms).await {
            Ok(pass) => pass,
            Err(error) => return failed(error),
        };
        let mut progress = Progress::default();
        let outcome = self.run(&open, &ledger, &call, &pass, &mut progress).await;
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
        pass: &ReadPass,
        progress: &mut Progress,
    ) -> Outcome {
        let mut attempts = 0;
        while attempts < MAX_ATTEMPTS {
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
                Attempt::NeedsActive => return Outcome::NeedsActive,
                Attempt::Failed(error) => return Outcome::Failed(error),
            };
            let submitted = if transaction.has_writes() {
                match transaction.finish() {
                    Ok(transaction) => ledger.submit(transaction).await,
                    Err(error) => return Outcome::Failed(error.into()),
                }
            } else {
                ledger.confirm(pass, transaction.newest_read()).await
            };
            match submitted {
                Ok(confirmed) => {
                    if let Some(ring) = &done.ring {
                        open.barrier.install(ring);
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
        let mut ring = None;
        let result = self.decide(open, transaction, call, progress, &mut principal).await;
        let answer = match result {
            Err(Stop::TakeUse(entry)) => return Attempt::TakeUse(entry),
            Err(Stop::Failed(error)) => return Attempt::Failed(error),
            Err(Stop::Answer(answer)) => answer,
            Ok(Granted { routed, request, caller }) => {
                let kernel = self.kernel(open, transaction, &routed, caller, call);
                let (operation, answer) = (request.operation, kernel.dispatch(&routed, &request).await);
                effect = *kernel.effect.lock().unwrap_or_else(PoisonError::into_inner);
                ring = kernel.ring.lock().unwrap_or_else(PoisonError::into_inner).take();
                respond::answer(&call.id, operation, answer)
            }
        };
        match answer {
            Answer::NeedsActive => Attempt::NeedsActive,
            Answer::Failed(error) => Attempt::Failed(error),
            Answer::Body { status, body, keep } => {
                if !keep {
                    transaction.discard_writes();
                    (effect, ring) = (None, None);
                }
                Attempt::Done(Box::new(Done { status, body, principal, effect, ring }))
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
        let caller = self.authenticate(open, transaction, call, &routed, progress).await?;
        let mut request = request(call, &routed, caller.as_deref());
        let allowed = self.authorise(open, transaction, call, &routed, caller.as_ref(), &mut request).await?;
        *principal = request.principal.clone();
        let refused = if allowed { None } else { Some("permission denied") };
        if !std::mem::replace(&mut progress.audited, true) {
            let event = AuditEvent::Request { call, principal, error: refused };
            self.parts().audit.write(&event).await.map_err(Stop::Failed)?;
        }
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

    async fn route<'c>(
        &self,
        open: &Open,
        transaction: &BarrierTransaction,
        operation: Operation,
        path: &'c str,
    ) -> Result<Routed<'c>, LogicalError> {
        let router = open::router(transaction, open, self.parts()).await?;
        let target = router.route(path).map(|(mounted, rest)| (Arc::clone(mounted), rest));
        let traits =
            target.as_ref().map_or_else(RouteTraits::default, |(mounted, rest)| match &mounted.dispatch {
                Dispatch::Engine(engine) => engine.route(operation, rest),
                Dispatch::Kernel(engine) => engine.route(operation, rest),
                Dispatch::Missing(_) => RouteTraits::default(),
            });
        Ok(Routed { router, target, traits })
    }

    /// The caller's token; `None` only where the route needs none.
    async fn authenticate(
        &self,
        open: &Open,
        transaction: &BarrierTransaction,
        call: &Call,
        routed: &Routed<'_>,
        progress: &Progress,
    ) -> Result<Option<Arc<TokenEntry>>, Stop> {
        let store = TokenStore {
            open,
            transaction,
            mounts: &routed.router.table,
            random: self.parts().random.as_ref(),
            now: transaction.ledger().time(),
        };
        let found = store.by_token(&call.token, progress.used.is_some()).await?;
        let caller = found.filter(|entry| is_bound_here(&entry.bound_cidrs, call.remote));
        if routed.traits.unauthenticated {
            return Ok(caller);
        }
        match caller {
            None => refuse(403, "permission denied"),
            Some(entry) if entry.num_uses > 0 && progress.used.is_none() => {
                if transaction.ledger().is_writable() {
                    Err(Stop::TakeUse(entry))
                } else {
                    Err(Stop::Answer(Answer::NeedsActive))
                }
            }
            Some(entry) => Ok(Some(entry)),
        }
    }

    /// Whether the request is allowed; decides between create and update on the way.
    async fn authorise(
        &self,
        open: &Arc<Open>,
        transaction: &BarrierTransaction,
        call: &Call,
        routed: &Routed<'_>,
        caller: Option<&Arc<TokenEntry>>,
        request: &mut Request,
    ) -> Result<bool, Stop> {
        if call.operation == Operation::Update {
            let kernel = self.kernel(open, transaction, routed, caller.cloned(), call);
            if kernel.exists(routed, request).await? == Some(false) {
                request.operation = Operation::Create;
            }
        }
        let Some(caller) = caller else { return Ok(routed.traits.unauthenticated) };
        let acl = policy::acl(transaction, open, &caller.policies).await?;
        let verdict = acl.decide(Ask {
            operation: request.operation,
            path: &call.path,
            data: &call.data,
            wrap_ttl_seconds: call.wrap_ttl_seconds,
        });
        request.principal.is_root = verdict.is_root;
        request.principal.has_sudo = verdict.has_sudo;
        let sudo = verdict.has_sudo || !routed.traits.needs_sudo;
        Ok(routed.traits.unauthenticated || (verdict.allowed && sudo))
    }

    fn kernel<'k>(
        &'k self,
        open: &'k Open,
        transaction: &'k BarrierTransaction,
        routed: &Routed<'_>,
        caller: Option<Arc<TokenEntry>>,
        call: &Call,
    ) -> Kernel<'k> {
        Kernel {
            core: self,
            open,
            transaction,
            router: Arc::clone(&routed.router),
            mounted: routed.target.as_ref().map(|(mounted, _)| Arc::clone(mounted)),
            caller,
            request_path: call.path.clone(),
            effect: Mutex::default(),
            ring: Mutex::default(),
        }
    }

    /// What the engine behind `path` says of it; all false where there is none.
    ///
    /// # Errors
    /// When sealed, or the storage cannot answer.
    pub async fn route_traits(
        &self,
        ledger: Arc<dyn Ledger>,
        operation: Operation,
        path: &str,
    ) -> Result<RouteTraits, CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        let transaction = BarrierTransaction::new(ledger, Arc::clone(&open.barrier), Consistency::Committed);
        let routed = self.route(&open, &transaction, operation, path).await.map_err(core_error)?;
        Ok(routed.traits)
    }

    /// Whether a request whose outcome is unknown may be sent again: its engine declares it repeatable, and its token has
    /// no use limit. False in doubt.
    pub async fn may_repeat(&self, ledger: Arc<dyn Ledger>, call: &Call) -> bool {
        let Some(open) = self.open.load_full() else { return false };
        let transaction = BarrierTransaction::new(ledger, Arc::clone(&open.barrier), Consistency::Committed);
        let Ok(routed) = self.route(&open, &transaction, call.operation, &call.path).await else {
            return false;
        };
        if !routed.traits.repeatable {
            return false;
        }
        let store = TokenStore {
            open: &open,
            transaction: &transaction,
            mounts: &routed.router.table,
            random: self.parts().random.as_ref(),
            now: transaction.ledger().time(),
        };
        let limited = |entry: Option<Arc<TokenEntry>>| entry.is_none_or(|entry| entry.num_uses != 0);
        routed.traits.unauthenticated
            || store.by_token(&call.token, false).await.is_ok_and(|entry| !limited(entry))
    }

    /// Shows that this node can serve: reads the mount table through the barrier and has the read confirmed.
    ///
    /// # Errors
    /// When sealed, or the storage or the proof of leadership does not answer.
    pub async fn probe(&self, ledger: Arc<dyn Ledger>) -> Result<(), CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        let pass = ledger.begin(0).await?;
        let transaction =
            BarrierTransaction::new(Arc::clone(&ledger), Arc::clone(&open.barrier), Consistency::Committed);
        open::router(&transaction, &open, self.parts()).await.map_err(core_error)?;
        ledger.confirm(&pass, transaction.newest_read()).await?;
        Ok(())
    }
}

/// A request that may run.
struct Granted<'c> {
    routed: Routed<'c>,
    request: Request,
    caller: Option<Arc<TokenEntry>>,
}

/// Why a request does not reach its engine.
enum Stop {
    Answer(Answer),
    TakeUse(Arc<TokenEntry>),
    Failed(CoreError),
}

impl From<LogicalError> for Stop {
    fn from(error: LogicalError) -> Self {
        Self::Answer(respond::answer("", Operation::Read, Err(error)))
    }
}

impl Kernel<'_> {
    async fn exists(&self, routed: &Routed<'_>, request: &Request) -> Result<Option<bool>, LogicalError> {
        match routed.target.as_ref().map(|(mounted, _)| &mounted.dispatch) {
            Some(Dispatch::Engine(engine)) => engine.exists(request, &self.storage()).await,
            Some(Dispatch::Kernel(engine)) => engine.exists(request, self).await,
            Some(Dispatch::Missing(_)) | None => Ok(None),
        }
    }

    async fn dispatch(
        &self,
        routed: &Routed<'_>,
        request: &Request,
    ) -> Result<Option<Response>, LogicalError> {
        let response = match routed.target.as_ref().map(|(mounted, _)| &mounted.dispatch) {
            Some(Dispatch::Engine(engine)) => engine.handle(request, &self.storage(), self).await?,
            Some(Dispatch::Kernel(engine)) => engine.handle(request, self).await?,
            Some(Dispatch::Missing(reason)) => return Err(LogicalError::Unavailable(reason.clone())),
            None => None,
        };
        let Some(mut response) = response else { return Ok(None) };
        if let Some(login) = response.login.take() {
            let issued = self.issue(login).await?;
            response.warnings.extend(issued.warnings.iter().cloned());
            response.auth = Some(issued.auth());
        }
        Ok(Some(response))
    }

    /// The token of a successful login.
    async fn issue(&self, login: Login) -> Result<IssuedToken, LogicalError> {
        self.create_token(NewToken {
            policies: login.policies,
            metadata: login.metadata,
            display_name: login.display_name,
            ttl_seconds: login.ttl_seconds,
            max_ttl_seconds: login.max_ttl_seconds,
            explicit_max_ttl_seconds: login.explicit_max_ttl_seconds,
            period_seconds: login.period_seconds,
            num_uses: login.num_uses,
            renewable: login.renewable,
            token_type: login.token_type,
            parent: if login.orphan { None } else { self.caller().cloned() },
            ..NewToken::default()
        })
        .await
    }
}

fn request(call: &Call, routed: &Routed<'_>, caller: Option<&TokenEntry>) -> Request {
    let (entry, path) = match &routed.target {
        Some((mounted, path)) => (Some(&mounted.entry), *path),
        None => (None, call.path.as_str()),
    };
    Request {
        id: call.id.clone(),
        operation: call.operation,
        path: path.to_owned(),
        mount_path: entry.map(|entry| entry.route()).unwrap_or_default(),
        mount_accessor: entry.map(|entry| entry.accessor.clone()).unwrap_or_default(),
        mount_options: entry.map(|entry| entry.options.clone()).unwrap_or_default(),
        data: call.data.clone(),
        principal: caller.map(principal).unwrap_or_default(),
        client_token: call.token.clone(),
        remote: call.remote,
        wrap_ttl_seconds: call.wrap_ttl_seconds,
    }
}

fn principal(entry: &TokenEntry) -> Principal {
    Principal {
        accessor: entry.accessor.clone(),
        token_key: entry.key.clone(),
        display_name: entry.display_name.clone(),
        policies: entry.policies.clone(),
        entity_id: entry.entity_id.clone(),
        is_root: entry.is_root(),
        has_sudo: entry.is_root(),
        cubbyhole_id: entry.cubbyhole_id.clone(),
    }
}

/// Whether a token that is bound to networks may be used from `remote`.
fn is_bound_here(networks: &[String], remote: Option<IpAddr>) -> bool {
    networks.is_empty()
        || remote.is_some_and(|remote| {
            networks.iter().any(|network| {
                network.parse::<ipnet::IpNet>().is_ok_and(|network| network.contains(&remote))
                    || network.parse::<IpAddr>().is_ok_and(|address| address == remote)
            })
        })
}

fn refuse<T>(status: u16, text: &str) -> Result<T, Stop> {
    Err(Stop::Answer(respond::refusal(status, text)))
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
