//! The process: watches, the queue, probes and metrics, an orderly end.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Client, Resource, ResourceExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::error::{OperatorError, status_code};
use super::metrics::OperatorMetrics;
use super::reconcile::{self, Environment};
use super::settings::Settings;
use crate::base::backoff::Backoff;
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::task::{self, Shutdown};
use crate::crd::VaultCluster;
use crate::k8s::client::Clients;
use crate::k8s::lease::LeaseRecord;
use crate::k8s::words::LABEL_CLUSTER;
use crate::telemetry::{self, Metrics, Probe};

/// Clusters that are visited at a time.
const CONCURRENCY: u16 = 8;
/// Time for visits under way when the process is told to end.
const LAST_VISITS: Duration = Duration::from_secs(15);
/// Pause after a watch has failed. Watches fail one by one, each failure holds up all of them, and a connection that is
/// not looked after meanwhile fails too: with growing pauses an outage of seconds would blind the operator for minutes.
const WATCH_PAUSE: Duration = Duration::from_millis(500);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

type Guarded = DeserializeGuard<VaultCluster>;
type Reference = ObjectRef<Guarded>;

struct State {
    environment: Environment,
    retries: Mutex<HashMap<Reference, Backoff>>,
    visits: TaskTracker,
}

/// The same pause after every failure of a watch.
struct WatchPause;

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(WATCH_PAUSE)
    }
}

impl kube::runtime::utils::Backoff for WatchPause {
    fn reset(&mut self) {}
}

/// Whether the kinds are there and the queue runs.
struct Readiness(AtomicBool);

impl Probe for Readiness {
    fn ready(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("the operator is starting".to_owned()) }
    }
}

/// Reconciles until `shutdown`; visits under way are finished first.
///
/// # Errors
/// When VaultClusters cannot be listed, or the probe listener cannot be opened.
pub async fn run(
    clients: Clients,
    settings: Settings,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> Result<(), OperatorError> {
    let readiness = Arc::new(Readiness(AtomicBool::new(false)));
    let probes = match settings.probe_address {
        None => None,
        Some(address) => Some(listen(address, &metrics, &readiness, &shutdown).await?),
    };
    wait_for_kinds(&clients.requests, &settings, &shutdown).await?;
    readiness.0.store(true, Ordering::Relaxed);
    let reporter = Reporter {
        controller: "holdfast-operator".to_owned(),
        instance: Some(settings.instance.clone()).filter(|instance| !instance.is_empty()),
    };
    let state = Arc::new(State {
        environment: Environment {
            recorder: Recorder::new(clients.requests.clone(), reporter),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            metrics: OperatorMetrics::new(&metrics),
            clients,
            settings,
        },
        retries: Mutex::new(HashMap::new()),
        visits: TaskTracker::new(),
    });
    let end = shutdown.clone();
    let queue = controller(&state.environment)
        .graceful_shutdown_on(async move { end.wait().await })
        .run(reconcile, failed, Arc::clone(&state))
        .for_each(|result| async move {
            // Failed visits were logged where they failed; what is left are watches and objects that have gone.
            if let Err(error) = result {
                tracing::debug!(%error, "queue");
            }
        });
    tokio::select! {
        () = queue => {}
        // The queue does not end if it is told to before its first list has arrived: visits alone are waited for.
        () = last_visits(&state, &shutdown) => {}
    }
    readiness.0.store(false, Ordering::Relaxed);
    drop(probes);
    Ok(())
}

async fn last_visits(state: &State, shutdown: &Shutdown) {
    shutdown.wait().await;
    state.visits.close();
    if tokio::time::timeout(LAST_VISITS, state.visits.wait()).await.is_err() {
        tracing::warn!("a visit under way did not end in time; the next operator goes on from what is there");
    }
}

async fn listen(
    address: SocketAddr,
    metrics: &Arc<Metrics>,
    readiness: &Arc<Readiness>,
    shutdown: &Shutdown,
) -> Result<task::Guarded<()>, OperatorError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| OperatorError::Listen { address, reason: error.to_string() })?;
    let probe: Arc<dyn Probe> = Arc::<Readiness>::clone(readiness);
    Ok(task::guard("probes", telemetry::serve(listener, Arc::clone(metrics), probe, shutdown.child())))
}

/// Waits while the API server is away; an answer that the kind is not there, or is not for us, is final.
async fn wait_for_kinds(
    client: &Client,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<(), OperatorError> {
    let api: Api<VaultCluster> = scope(client, settings);
    let mut backoff = Backoff::new(FIRST_RETRY, Duration::from_secs(10));
    loop {
        match api.list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => return Ok(()),
            Err(error) if status_code(&error) == Some(404) => {
                return Err(OperatorError::NotInstalled(error.to_string()));
            }
            Err(error) => tracing::warn!(%error, "VaultClusters cannot be listed yet"),
        }
        if !shutdown.sleep(backoff.next_delay(&SystemRandom)).await {
            return Ok(());
        }
    }
}

fn scope<K>(client: &Client, settings: &Settings) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match &settings.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn controller(environment: &Environment) -> Controller<Guarded> {
    let client = &environment.clients.watches;
    let settings = &environment.settings;
    let ours = || watcher::Config::default().labels(LABEL_CLUSTER);
    let leases = Mutex::new(HashMap::<Reference, u64>::new());
    let of_label = |object: &dyn Labelled| -> Option<Reference> {
        Some(Reference::new(&object.cluster()?).within(&object.place()?))
    };
    Controller::new(scope::<Guarded>(client, settings), watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .trigger_backoff(WatchPause)
        .owns(scope::<StatefulSet>(client, settings), ours())
        .owns(scope::<Service>(client, settings), ours())
        .watches(scope::<Pod>(client, settings), ours(), move |pod| of_label(&pod))
        .watches(scope::<EndpointSlice>(client, settings), ours(), move |slice| of_label(&slice))
        .watches(scope::<Lease>(client, settings), ours(), move |lease| {
            let reference = of_label(&lease)?;
            // A Lease is renewed every two seconds: only what changes roles is worth a visit.
            let mut known = leases.lock().unwrap_or_else(PoisonError::into_inner);
            let signature = signature(&lease);
            (known.insert(reference.clone(), signature) != Some(signature)).then_some(reference)
        })
}

/// What a watched object says about the cluster that it belongs to.
trait Labelled {
    fn cluster(&self) -> Option<String>;
    fn place(&self) -> Option<String>;
}

impl<K: Resource> Labelled for K {
    fn cluster(&self) -> Option<String> {
        self.labels().get(LABEL_CLUSTER).cloned()
    }

    fn place(&self) -> Option<String> {
        self.namespace()
    }
}

/// Everything of a Lease but its renewals.
fn signature(lease: &Lease) -> u64 {
    let record = LeaseRecord { renewals: 0, ..LeaseRecord::read(lease) };
    let mut hasher = DefaultHasher::new();
    format!("{record:?}").hash(&mut hasher);
    lease.metadata.uid.hash(&mut hasher);
    lease.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

async fn reconcile(object: Arc<Guarded>, state: Arc<State>) -> Result<Action, OperatorError> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let span = tracing::info_span!("reconcile", cluster = %format!("{namespace}/{name}"));
    let environment = &state.environment;
    let begun = environment.clock.now();
    let work = async {
        if let Err(invalid) = &object.0 {
            let generation = invalid.metadata.generation;
            reconcile::refuse(environment, &namespace, &name, generation, &invalid.error).await?;
            return Ok(None);
        }
        reconcile::visit(environment, &namespace, &name).await
    };
    let result = state.visits.track_future(work.instrument(span.clone())).await;
    environment.metrics.visited(result.is_ok(), environment.clock.now().since(begun));
    match result {
        Ok(next) => {
            let mut retries = state.retries.lock().unwrap_or_else(PoisonError::into_inner);
            retries.remove(&Reference::from_obj(object.as_ref()));
            Ok(next.map_or_else(Action::await_change, Action::requeue))
        }
        Err(error) => {
            span.in_scope(|| tracing::warn!(%error, "visit failed"));
            Err(error)
        }
    }
}

fn failed(object: Arc<Guarded>, _error: &OperatorError, state: Arc<State>) -> Action {
    let mut retries = state.retries.lock().unwrap_or_else(PoisonError::into_inner);
    let reference = Reference::from_obj(object.as_ref());
    let backoff = retries.entry(reference).or_insert_with(|| Backoff::new(FIRST_RETRY, LAST_RETRY));
    Action::requeue(backoff.next_delay(&SystemRandom))
}
