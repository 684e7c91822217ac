//! Before an engine runs: route, authenticate, authorise.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::call::Call;
use super::error::CoreError;
use super::kernel::Kernel;
use super::mounts::{Dispatch, Mounted, Router};
use super::open::{self, Open};
use super::parts::Core;
use super::policy::{self, Ask};
use super::respond::{self, Answer};
use super::token::{TokenEntry, TokenStore};
use crate::vault::barrier::BarrierTransaction;
use crate::vault::logical::{LogicalError, Operation, Principal, Request, RouteTraits};

/// A routed request: its mount, the path inside it, and what the engine says of it.
pub(super) struct Routed<'c> {
    pub(super) router: Arc<Router>,
    pub(super) target: Option<(Arc<Mounted>, &'c str)>,
    pub(super) traits: RouteTraits,
}

/// A request that may run.
pub(super) struct Granted<'c> {
    pub(super) routed: Routed<'c>,
    pub(super) request: Request,
    pub(super) caller: Option<Arc<TokenEntry>>,
}

/// Why a request does not reach its engine.
pub(super) enum Stop {
    Answer(Answer),
    TakeUse(Arc<TokenEntry>),
    Failed(CoreError),
}

impl From<LogicalError> for Stop {
    fn from(error: LogicalError) -> Self {
        Self::Answer(respond::answer("", Operation::Read, Err(error)))
    }
}

impl Core {
    pub(super) async fn route<'c>(
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
                Dispatch::Reserved | Dispatch::Missing(_) => RouteTraits::default(),
            });
        Ok(Routed { router, target, traits })
    }

    /// The caller's token; `None` only where the route needs none.
    pub(super) async fn authenticate(
        &self,
        open: &Open,
        transaction: &BarrierTransaction,
        call: &Call,
        routed: &Routed<'_>,
        used_taken: bool,
    ) -> Result<Option<Arc<TokenEntry>>, Stop> {
        let store = TokenStore {
            open,
            transaction,
            mounts: &routed.router.table,
            random: self.parts().random.as_ref(),
            now: transaction.ledger().time(),
        };
        let found = store.by_token(&call.token, used_taken).await?;
        let caller = found.filter(|entry| is_bound_here(&entry.bound_cidrs, call.remote));
        if routed.traits.unauthenticated {
            return Ok(caller);
        }
        match caller {
            None => refuse(403, "permission denied"),
            Some(entry) if entry.num_uses > 0 && !used_taken => {
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
    pub(super) async fn authorise(
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

    pub(super) fn kernel<'k>(
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
            keys: Mutex::default(),
        }
    }
}

pub(super) fn request(call: &Call, routed: &Routed<'_>, caller: Option<&TokenEntry>) -> Request {
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

pub(super) fn refuse<T>(status: u16, text: &str) -> Result<T, Stop> {
    Err(Stop::Answer(respond::refusal(status, text)))
}
