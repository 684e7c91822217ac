//! One visit to one cluster: observe, validate, plan, apply, report.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::Recorder;
use serde_json::{Value, json};

use super::apply::{MANAGER, Writer};
use super::build::meta::{Child, Kind};
use super::build::{Context, config, disruption, keys};
use super::conditions::{self, Findings};
use super::error::OperatorError;
use super::metrics::OperatorMetrics;
use super::node::is_initialised_by_others;
use super::observe::{self, Observed, Pod};
use super::settings::Settings;
use super::validate::{self, Problem};
use super::{events, initialisation, live, materials, plan, roles, rolling, status};
use crate::base::class::ErrorClass;
use crate::base::clock::{Clock, UnixMillis};
use crate::base::random::Random;
use crate::crd::cluster::ConditionType;
use crate::crd::{VaultCluster, VaultClusterStatus};
use crate::k8s::client::Clients;
use crate::k8s::words::{GROUP, LABEL_ACTIVE, LEASE_ENDED, LEASE_LEAVING, VERSION};

/// While something is being done.
const SOON: Duration = Duration::from_secs(1);
/// While something is waited for.
const WAITING: Duration = Duration::from_secs(2);
/// While a person has to help.
const STALLED: Duration = Duration::from_secs(30);
/// While all is well: pods, Lease and children are watched, Secrets and answers of pods are not.
const STEADY: Duration = Duration::from_secs(60);

/// What visits need.
pub(crate) struct Environment {
    pub(crate) clients: Clients,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<OperatorMetrics>,
}

/// What the writing half of a visit found out.
#[derive(Default)]
struct Written {
    findings: Findings,
    expires: Option<UnixMillis>,
    intent: Option<String>,
}

/// Visits one cluster; returns when to come again, `None` if it is gone.
pub(crate) async fn visit(
    environment: &Environment,
    namespace: &str,
    name: &str,
) -> Result<Option<Duration>, OperatorError> {
    let client = &environment.clients.requests;
    let clusters: Api<VaultCluster> = Api::namespaced(client.clone(), namespace);
    // The cache may be older than our own last write: conditions and intents are read anew.
    let found = clusters.get_opt(name).await.map_err(OperatorError::api("reading the VaultCluster"))?;
    let Some(cluster) = found.filter(|cluster| cluster.metadata.deletion_timestamp.is_none()) else {
        environment.metrics.forget(namespace, name);
        return Ok(None);
    };
    let Some(context) = Context::new(&cluster, &environment.settings) else { return Ok(None) };
    let now = environment.clock.unix();
    let problems = validate::specification(&cluster);
    let mut written = Written::default();
    let mut seen = match observe::observe(client, &context, now).await {
        Ok(seen) => seen,
        Err(error) => {
            // A right that is missing stays missing: somebody has to read of it where they look first.
            if let Some(problem) = problem_of(&error) {
                written.findings.problems.push(problem);
                let blind = Observed { now, ..Observed::default() };
                let current = status::refused(&context, &blind, &written.findings);
                report(environment, &clusters, &cluster, &current).await?;
            }
            return Err(error);
        }
    };
    written.findings.was_ready = conditions::was_ready(&context);
    written.findings.problems = problems;
    let is_refused = !written.findings.problems.is_empty();
    let outcome = if is_refused { Ok(()) } else { act(environment, &context, &seen, &mut written).await };
    if let Err(error) = &outcome {
        written.findings.problems.extend(problem_of(error));
        written.findings.has_written = true;
    }
    seen.now = environment.clock.unix();
    let current = if is_refused {
        status::refused(&context, &seen, &written.findings)
    } else {
        status::status(&context, &seen, &written.findings, written.expires, written.intent)
    };
    report(environment, &clusters, &cluster, &current).await?;
    outcome?;
    let is_ready = status::is_true(&current, ConditionType::Ready);
    environment.metrics.ready(namespace, name, is_ready);
    Ok(Some(match is_ready {
        _ if written.findings.has_written => SOON,
        true => STEADY,
        false if !written.findings.problems.is_empty() => STALLED,
        false => WAITING,
    }))
}

/// A refusal that does not go away by itself, as a person shall read it.
fn problem_of(error: &OperatorError) -> Option<Problem> {
    let reason = match error.class() {
        ErrorClass::Denied => "PermissionDenied",
        ErrorClass::Invalid => "ApplyFailed",
        _ => return None,
    };
    Some(Problem::new(reason, error.to_string()))
}

/// Everything that writes.
async fn act(
    environment: &Environment,
    context: &Context<'_>,
    seen: &Observed,
    written: &mut Written,
) -> Result<(), OperatorError> {
    let findings = &mut written.findings;
    findings.problems.extend(validate::conflicts(context, seen));
    findings.problems.extend(validate::storage_secrets(context, seen));
    let materials = materials::plan(context, seen, environment.random.as_ref());
    written.expires = materials.expires;
    findings.problems.extend(materials.problems.iter().cloned());
    let certificate = user_secret(context, seen);
    findings.tls = materials.tls.clone().or_else(|| validate::certificate(context, certificate, seen.now));
    findings.is_initialising = conditions::is_initialising(context, seen);
    if context.cluster.spec.paused || findings.problems.iter().any(|p| p.reason == "NameConflict") {
        return Ok(());
    }
    let writer = Writer::new(&environment.clients.requests, &context.names.namespace);
    // First: standbys wait for it.
    say_who_ended(&writer, context, seen).await?;
    for child in &materials.create {
        findings.has_written = true;
        // Somebody else made it since we looked: what was derived from ours must not be used.
        if !writer.create(child).await? {
            return Ok(());
        }
    }
    let children = plan::children(context).into_iter().filter(|child| may_apply(context, seen, child));
    for child in materials.apply.into_iter().chain(children) {
        let found = seen.child(child.kind, &child.name);
        findings.has_written |= writer.apply(&child, found).await?;
    }
    findings.has_written |= prune(&writer, context, seen).await?;
    label(&writer, context, seen).await?;
    initialise(environment, &writer, context, seen, findings).await?;
    if findings.problems.is_empty() && !findings.has_written {
        roll(&writer, context, seen, written).await?;
    }
    Ok(())
}

fn user_secret<'a>(context: &Context<'_>, seen: &'a Observed) -> Option<&'a Value> {
    seen.secret(&context.cluster.spec.tls.secret_ref.as_ref()?.name)
}

/// A head that is missing from an initialised vault is lost data: an empty one in its place would hide that.
fn may_apply(context: &Context<'_>, seen: &Observed, child: &Child) -> bool {
    let is_lost_head = child.kind == Kind::Head
        && seen.child(Kind::Head, &child.name).is_none()
        && materials::is_known_initialised(context, seen);
    !is_lost_head
}

/// Removes what this specification no longer has: the budget of a single pod, a configuration that nobody runs.
async fn prune(writer: &Writer, context: &Context<'_>, seen: &Observed) -> Result<bool, OperatorError> {
    let mut has_written = false;
    let base = &context.names.base;
    if let Some(budget) = seen.child(Kind::PodDisruptionBudget, base)
        && disruption::budget(context).is_none()
        && !live::is_terminating(budget)
    {
        writer.delete(Kind::PodDisruptionBudget, base, live::uid(budget)).await?;
        has_written = true;
    }
    let current = config::name(context);
    let former = context.cluster.status.as_ref().and_then(|status| status.config_secret.as_deref());
    if let Some(former) = former.filter(|former| rolling::is_config_unused(context, seen, former, &current)) {
        let uid = seen.secret(former).map(live::uid).unwrap_or_default();
        writer.delete(Kind::Secret, former, uid).await?;
        has_written = true;
    }
    Ok(has_written)
}

/// Tells standbys in the Lease that its holder has ended, if that is certain: where the network swallowed its end they
/// would wait until the Lease runs out.
async fn say_who_ended(writer: &Writer, context: &Context<'_>, seen: &Observed) -> Result<(), OperatorError> {
    let base = &context.names.base;
    let (Some(holder), Some(lease)) = (roles::ended_holder(seen), seen.child(Kind::Lease, base)) else {
        return Ok(());
    };
    let note = json!({"metadata": {"annotations": {LEASE_ENDED: holder}}});
    writer.merge(Kind::Lease, base, live::uid(lease), note).await?;
    tracing::info!(holder, "the container of the Lease's holder has ended");
    Ok(())
}

/// Corrects role labels; first nobody else is active, then the active pod is.
async fn label(writer: &Writer, context: &Context<'_>, seen: &Observed) -> Result<(), OperatorError> {
    let active = roles::leader(context, seen).map(|pod| pod.uid.as_str());
    let is_active = |pod: &Pod| Some(pod.uid.as_str()) == active;
    let mut pods: Vec<&Pod> = seen.pods.iter().collect();
    pods.sort_by_key(|pod| is_active(pod));
    for pod in pods {
        let mut changes = roles::changes(pod, is_active(pod));
        if pod.is_terminating {
            changes.retain(|key, _| *key == LABEL_ACTIVE);
        }
        if !changes.is_empty() {
            writer.label_pod(&pod.name, &pod.uid, json!(changes)).await?;
            tracing::info!(pod = pod.name, ?changes, "labelled");
        }
    }
    Ok(())
}

/// Takes the next step of initialisation.
async fn initialise(
    environment: &Environment,
    writer: &Writer,
    context: &Context<'_>,
    seen: &Observed,
    findings: &mut Findings,
) -> Result<(), OperatorError> {
    let name = context.names.init();
    let uid = seen.secret(&name).map(live::uid).unwrap_or_default();
    match initialisation::next(context, seen) {
        initialisation::Step::Nothing => {}
        initialisation::Step::Stop(problem) => findings.problems.push(problem),
        initialisation::Step::Forget => {
            writer.delete(Kind::Secret, &name, uid).await?;
            findings.has_written = true;
        }
        initialisation::Step::Close { cluster_id } => {
            writer.merge(Kind::Secret, &name, uid, keys::closing(&cluster_id)).await?;
            tracing::info!(cluster_id, "initialisation is complete");
            findings.has_written = true;
        }
        initialisation::Step::Ask { pod, ip, nonce } => {
            let Some(access) = observe::access(context, seen) else { return Ok(()) };
            match access.init(ip, &nonce).await {
                Ok(response) => {
                    let answer = keys::answer(&response);
                    writer.merge(Kind::Secret, &name, uid, answer.clone()).await?;
                    let stored = writer.read(Kind::Secret, &name).await?;
                    if stored["data"][keys::ROOT_TOKEN] != answer["data"][keys::ROOT_TOKEN] {
                        let reason = "it does not hold what was written".to_owned();
                        return Err(OperatorError::Malformed { what: format!("Secret {name}"), reason });
                    }
                    tracing::info!(pod, "the vault is initialised and its keys are stored");
                    findings.has_written = true;
                    environment.metrics.initialised();
                }
                Err(error) if is_initialised_by_others(&error) => {
                    let message = format!(
                        "the vault was initialised by somebody else: pod {pod} says {error}; remove Secret {name} if you have its keys"
                    );
                    findings.problems.push(Problem::new("KeysLost", message));
                }
                Err(error) => {
                    tracing::warn!(pod, %error, "init was not answered; it is repeated with the same nonce");
                    findings.init_error = Some(format!("pod {pod} was asked to initialise: {error}"));
                }
            }
        }
    }
    Ok(())
}

/// Takes the next step of a roll; a pod is replaced only after the status has said so.
async fn roll(
    writer: &Writer,
    context: &Context<'_>,
    seen: &Observed,
    written: &mut Written,
) -> Result<(), OperatorError> {
    let step = rolling::next(context, seen);
    written.intent = step.intent();
    let base = &context.names.base;
    let lease = seen.child(Kind::Lease, base).map(live::uid).unwrap_or_default();
    let note = |leaving: Value| json!({"metadata": {"annotations": {LEASE_LEAVING: leaving}}});
    match step {
        rolling::Step::Nothing => {}
        rolling::Step::Wait(reason) => written.findings.roll_waits = Some(reason),
        rolling::Step::Announce(pod) => {
            writer.merge(Kind::Lease, base, lease, note(json!(pod))).await?;
            written.findings.has_written = true;
        }
        rolling::Step::Welcome => {
            writer.merge(Kind::Lease, base, lease, note(Value::Null)).await?;
            written.findings.has_written = true;
        }
        rolling::Step::Replace { pod, uid, reason } => {
            written.findings.has_written = true;
            let recorded = context.cluster.status.as_ref().and_then(|status| status.intent.as_ref());
            if recorded == written.intent.as_ref() {
                writer.delete_pod(&pod, &uid).await?;
                tracing::info!(pod, reason, "replaced");
            }
        }
    }
    Ok(())
}

/// Writes the status if it is another one, and tells what has changed.
async fn report(
    environment: &Environment,
    clusters: &Api<VaultCluster>,
    cluster: &VaultCluster,
    current: &VaultClusterStatus,
) -> Result<(), OperatorError> {
    if cluster.status.as_ref() == Some(current) {
        return Ok(());
    }
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VaultCluster",
        "metadata": {"name": name, "uid": cluster.metadata.uid},
        "status": current,
    });
    let params = PatchParams::apply(MANAGER).force();
    match clusters.patch_status(name, &params, &Patch::Apply(&object)).await {
        Ok(_) => {}
        // Deleted, or deleted and made anew, since we looked.
        Err(error) if matches!(super::error::status_code(&error), Some(404 | 409)) => return Ok(()),
        Err(error) => return Err(OperatorError::api("writing the status")(error)),
    }
    let events = events::edges(cluster.status.as_ref(), current);
    events::publish(&environment.recorder, cluster, &events).await;
    Ok(())
}

/// Tells the owner of an object that cannot even be read as a VaultCluster.
pub(crate) async fn refuse(
    environment: &Environment,
    namespace: &str,
    name: &str,
    generation: Option<i64>,
    reason: &str,
) -> Result<(), OperatorError> {
    let now = environment.clock.unix();
    let message = format!("the object is not a valid VaultCluster: {reason}");
    let verdicts = conditions::unreadable(&message);
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VaultCluster",
        "metadata": {"name": name},
        "status": {"observedGeneration": generation, "conditions": status::stamp(&verdicts, &[], generation, now)},
    });
    let resource = kube::core::ApiResource::erase::<VaultCluster>(&());
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(environment.clients.requests.clone(), namespace, &resource);
    let params = PatchParams::apply(MANAGER).force();
    api.patch_status(name, &params, &Patch::Apply(&object))
        .await
        .map(drop)
        .map_err(OperatorError::api("writing the status"))
}
