//! Where a request is carried out: here, on the active node, or, while none leads, later.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::SemaphorePermit;
use tracing::debug;

use super::forward::{self, Forwarded};
use super::hold::Held;
use super::inbound::{Inbound, NO_FORWARDING, Wish};
use super::respond::{self, Refusal};
use super::scouts::Scout;
use super::serve::Api;
use crate::base::class::ErrorClass;
use crate::base::task;
use crate::vault::core::{Call, CoreError, Effect, Outcome, Reply};
use crate::vault::ha::{Leader, NoLedger};
use crate::vault::physical::ActiveRecord;

/// How long a request waits for a leader: longer than a Lease that has to run out, and the claim after it. A leader that is
/// silent for longer lives, since nobody takes over from it: this node alone does not reach it.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// Of the requests that waited for a leader, how many go on at a time: all at once would only be slow together.
pub(super) const RESUMED: usize = 64;
/// How often the silence of a leader is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long a node that lost the leadership may still take to answer what it was sent.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What an attempt on this node came to.
enum Attempt {
    /// The answer.
    Done(Response<HttpBody>),
    /// The active node must do it; the error, if there was one, is what to say if none does.
    Elsewhere(Option<Refusal>),
}

impl Api {
    /// Carries `call` out, here or on the active node, whichever `wish` allows.
    pub(super) async fn route(
        self: &Arc<Self>,
        call: Call,
        wish: Wish,
        inbound: &Inbound,
    ) -> Response<HttpBody> {
        let clock = &self.lifecycle.clock;
        let deadline = clock.now().plus(self.patience);
        let (mut held, mut place, mut scout) = (None, None, None);
        loop {
            if held.is_some()
                && place.is_none()
                && let Err(refusal) = self.go_on(&mut place, deadline.since(clock.now())).await
            {
                return refusal.into_response();
            }
            let complaint = match self.attempt(&call, &wish).await {
                Attempt::Done(response) => {
                    self.went_through(&scout);
                    return response;
                }
                Attempt::Elsewhere(complaint) => complaint,
            };
            if inbound.from_peer {
                return forward::not_executed();
            }
            if is_for_this_node_alone(&call) {
                // Sent on, it would seal another node than the one that was asked.
                let text = "vault cannot seal when in standby mode; please restart instead";
                return Refusal::of(ErrorClass::Invalid, text).into_response();
            }
            let left = deadline.since(clock.now());
            if !self.has_leader()
                && let Err(refusal) = self.hold(&mut held, inbound)
            {
                return refusal.into_response();
            }
            let leader = match self.lifecycle.ha.wait_for_leader(left).await {
                Ok(Leader::There(_)) if held.is_some() && place.is_none() => continue,
                Ok(Leader::There(leader)) => leader,
                Ok(Leader::Here) if clock.now() < deadline => {
                    // It has just become active, or has just ceased to be: a moment settles it.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                Ok(Leader::Here) => {
                    return gone(complaint, "this node became active and did not take the request");
                }
                Err(reason) => return complaint.unwrap_or_else(|| self.no_ledger(&reason)).into_response(),
            };
            let is_out_of_reach = self.standby.only_redirects || leader.cluster_addr.is_empty();
            if is_out_of_reach || inbound.headers.contains_key(NO_FORWARDING) {
                return redirect(&leader, inbound);
            }
            let reason = match self.send_on(&leader, inbound).await {
                Forwarded::Answer(response) => {
                    self.went_through(&scout);
                    return response;
                }
                Forwarded::NotExecuted(reason) if clock.now() < deadline => reason,
                Forwarded::NotExecuted(reason) => return gone(complaint, &reason),
                Forwarded::Maybe(reason) if clock.now() < deadline && self.may_repeat(&call).await => reason,
                Forwarded::Maybe(reason) => return unknown(&reason),
            };
            debug!(%reason, leader = %leader.identity, "the active node did not take or answer the request");
            if let Err(refusal) = self.hold(&mut held, inbound) {
                return refusal.into_response();
            }
            drop((scout.take(), place.take()));
            scout = tokio::select! {
                scout = self.scouts.turn() => scout,
                () = self.news(&leader) => None,
                () = tokio::time::sleep(deadline.since(clock.now())) => return gone(complaint, &reason),
            };
        }
    }

    async fn send_on(&self, leader: &ActiveRecord, inbound: &Inbound) -> Forwarded {
        self.measures.forwarded();
        let own = &self.lifecycle.ha.settings().identity;
        tokio::select! {
            forwarded = forward::forward(&self.pool, own, leader, inbound) => forwarded,
            () = self.replaced(leader) => {
                Forwarded::Maybe(format!("{} lost the leadership before it answered", leader.identity))
            }
            () = self.silent(leader) => {
                let seconds = self.silence.as_secs();
                Forwarded::Maybe(format!("{} has not been heard of for {seconds} s", leader.identity))
            }
        }
    }

    /// Makes the request one of those that wait for a leader, unless there are too many.
    fn hold(&self, held: &mut Option<Held>, inbound: &Inbound) -> Result<(), Refusal> {
        if held.is_some() {
            return Ok(());
        }
        self.measures.held();
        *held = self.hold.enter(inbound.body.len());
        if held.is_some() { Ok(()) } else { Err(too_many()) }
    }

    /// Waits until it is this request's turn to go on, among those that waited for a leader.
    async fn go_on<'a>(
        &'a self,
        place: &mut Option<SemaphorePermit<'a>>,
        left: Duration,
    ) -> Result<(), Refusal> {
        let acquired = tokio::time::timeout(left, self.resumed.acquire()).await;
        *place = Some(acquired.ok().and_then(Result::ok).ok_or_else(too_many)?);
        Ok(())
    }

    /// Tells those who wait if a request that asked for them was taken.
    fn went_through(&self, scout: &Option<Scout<'_>>) {
        if scout.is_some() {
            self.scouts.taken();
        }
    }

    async fn attempt(self: &Arc<Self>, call: &Call, wish: &Wish) -> Attempt {
        let admission = match self.lifecycle.ha.admit() {
            Ok(admission) => admission,
            Err(NoLedger::NoLeader(_)) => return Attempt::Elsewhere(None),
            Err(reason) => return Attempt::Done(self.no_ledger(&reason).into_response()),
        };
        let is_writable = admission.ledger.is_writable();
        if !is_writable && (wish.active || !self.standby.reads) {
            return Attempt::Elsewhere(None);
        }
        let outcome = self.lifecycle.core.handle(Arc::clone(&admission.ledger), call.clone()).await;
        drop(admission);
        match outcome {
            // What was written is written: only the answer to a read can still be one that the client must not get.
            Outcome::Reply(reply) if !call.operation.may_write() && wish.misses(&reply.confirmed.head) => {
                let text = "required index state not present: this client has seen a later state than the storage holds";
                let refusal = Refusal::of(ErrorClass::Conflict, text);
                if is_writable {
                    Attempt::Done(refusal.into_response())
                } else {
                    Attempt::Elsewhere(Some(refusal))
                }
            }
            Outcome::Reply(reply) => Attempt::Done(self.replied(reply)),
            Outcome::NeedsActive => Attempt::Elsewhere(None),
            // A standby that cannot prove what it reads is no reason to fail: the active node may well answer.
            Outcome::Failed(error @ CoreError::Unavailable(_)) if !is_writable => {
                Attempt::Elsewhere(Some(Refusal::from(error)))
            }
            Outcome::Failed(error) => Attempt::Done(Refusal::from(error).into_response()),
        }
    }

    fn replied(self: &Arc<Self>, mut reply: Reply) -> Response<HttpBody> {
        if let Some(effect) = reply.effect.take() {
            let lifecycle = Arc::clone(&self.lifecycle);
            task::spawn("effect of a request", async move {
                match effect {
                    Effect::Seal => lifecycle.seal().await,
                    Effect::StepDown => {
                        if let Err(error) = lifecycle.ha.step_down().await {
                            tracing::warn!(%error, "this node did not step down");
                        }
                    }
                }
            });
        }
        respond::reply(reply)
    }

    /// Whether route and token allow that the request runs twice.
    async fn may_repeat(&self, call: &Call) -> bool {
        match self.lifecycle.ha.ledger() {
            Ok(ledger) => self.lifecycle.core.may_repeat(ledger, call).await,
            Err(_) => false,
        }
    }

    fn no_ledger(&self, reason: &NoLedger) -> Refusal {
        let text = match reason {
            // Clients look for this text.
            NoLedger::Sealed => "Vault is sealed".to_owned(),
            // Leadership learns of a new vault a moment later than the kernel that made it.
            NoLedger::Uninitialised if self.lifecycle.core.seal_status().initialized => {
                "Vault is sealed".to_owned()
            }
            other => other.to_string(),
        };
        Refusal::of(reason.class(), text)
    }

    fn has_leader(&self) -> bool {
        self.lifecycle.ha.status().borrow().leader.is_some()
    }

    /// Returns some time after another node has taken the leadership from `old`: whatever `old` has not answered by
    /// then it will not answer any more, for example because its machine is gone.
    async fn replaced(&self, old: &ActiveRecord) {
        let mut status = self.lifecycle.ha.status();
        let is_other = |leader: &ActiveRecord| leader.epoch > old.epoch;
        let replaced = status.wait_for(|status| status.leader.as_ref().is_some_and(is_other)).await.is_ok();
        if !replaced {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_ANSWER).await;
    }

    /// Returns once the active node has been silent for long while something was waiting for its answer.
    async fn silent(&self, leader: &ActiveRecord) {
        let clock = &self.lifecycle.clock;
        let begun = clock.now();
        loop {
            tokio::time::sleep(LOOK).await;
            let heard = self.lifecycle.ha.heard(&leader.identity).unwrap_or(begun);
            if clock.now().since(heard.max(begun)) >= self.silence {
                return;
            }
        }
    }

    /// Waits until another leader than `stale` is known.
    async fn news(&self, stale: &ActiveRecord) {
        let mut status = self.lifecycle.ha.status();
        let changed = status.wait_for(|status| status.leader.as_ref() != Some(stale));
        if changed.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether the call means the node that it was sent to, and no other.
fn is_for_this_node_alone(call: &Call) -> bool {
    call.path.trim_end_matches('/') == "sys/seal"
}

fn too_many() -> Refusal {
    let text = "no node is active at the moment and too many requests are waiting for one";
    Refusal::of(ErrorClass::Unavailable, text)
}

/// Whether the time is over is the caller's matter; this is what it says then.
fn gone(complaint: Option<Refusal>, reason: &str) -> Response<HttpBody> {
    let refusal = complaint.unwrap_or_else(|| {
        Refusal::of(ErrorClass::Unavailable, format!("the active node cannot be reached: {reason}"))
    });
    refusal.into_response()
}

fn unknown(reason: &str) -> Response<HttpBody> {
    let text =
        format!("the outcome of the request is unknown: it may or may not have been carried out: {reason}");
    Refusal::of(ErrorClass::Unknown, text).into_response()
}

fn redirect(leader: &ActiveRecord, inbound: &Inbound) -> Response<HttpBody> {
    let target = inbound.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    match HeaderValue::from_str(&format!("{}{target}", leader.api_addr.trim_end_matches('/'))) {
        Ok(location) => {
            let mut response = respond::empty(StatusCode::TEMPORARY_REDIRECT);
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => Refusal::of(ErrorClass::Unavailable, "the active node advertises no usable address")
            .into_response(),
    }
}
