//! `operator` and `operator run`: the controller, until it is asked to end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::args::OperatorArgs;
use super::failure::Failure;
use super::output::Report;
use crate::base::task::{self, Shutdown};
use crate::config::env::{self, Variable};
use crate::config::{Environment, LogConfig, LogFormat, LogLevel};
use crate::crd::cluster::PullPolicy;
use crate::k8s::client::{self, Source};
use crate::k8s::words::PORT_PROBE;
use crate::operator::{self, Settings};
use crate::telemetry::{Metrics, logging};

/// Runs the command.
pub(super) async fn run(args: OperatorArgs, environment: &Environment) -> Result<Report, Failure> {
    let settings = settings(&args, environment)?;
    let log = LogConfig {
        level: choice(
            &args.log_level,
            env::HOLDFAST_LOG_LEVEL,
            environment,
            LogLevel::NAMES,
            LogLevel::parse,
        )?
        .unwrap_or_default(),
        format: choice(
            &args.log_format,
            env::HOLDFAST_LOG_FORMAT,
            environment,
            LogFormat::NAMES,
            LogFormat::parse,
        )?
        .unwrap_or_default(),
    };
    logging::start(log).map_err(|e| Failure::local(e.to_string()))?;
    let failed = |error: String| Failure::local(format!("Error running the operator: {error}"));
    let clients = client::connect(&source(&args, environment)?).await.map_err(|e| failed(e.to_string()))?;
    let metrics = Arc::new(Metrics::new("operator", env!("CARGO_PKG_VERSION")));
    let shutdown = Shutdown::default();
    let _signals = end_on_signals(&shutdown)?;
    operator::run(clients, settings, metrics, shutdown).await.map_err(|e| failed(e.to_string()))?;
    Ok(Report { ends_line: false, ..Report::text("") })
}

/// A setting by flag, then environment.
fn text(flag: &Option<String>, variable: Variable, environment: &Environment) -> Option<String> {
    flag.clone().or_else(|| environment.get(variable))
}

/// The same, read by `read`.
fn choice<T>(
    flag: &Option<String>,
    variable: Variable,
    environment: &Environment,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Some(value) = text(flag, variable, environment) else { return Ok(None) };
    let wrong =
        || Failure::local(format!("{} (or its flag) is {value:?}, expected {expected}", variable.name));
    read(&value).map(Some).ok_or_else(wrong)
}

/// What the controller is told.
pub(super) fn settings(args: &OperatorArgs, environment: &Environment) -> Result<Settings, Failure> {
    let image = text(&args.image, env::HOLDFAST_IMAGE, environment).ok_or_else(|| {
        Failure::local("the image of the clusters is not known: set -image=IMAGE or HOLDFAST_IMAGE")
    })?;
    let mut settings = Settings::for_image(image);
    let policy = |text: &str| {
        [PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never]
            .into_iter()
            .find(|policy| policy.word() == text)
    };
    let expected = "Always, IfNotPresent or Never";
    let policy = choice(&args.pull_policy, env::HOLDFAST_PULL_POLICY, environment, expected, policy)?;
    settings.pull_policy = policy.unwrap_or(settings.pull_policy);
    if let Some(domain) = text(&args.cluster_domain, env::HOLDFAST_CLUSTER_DOMAIN, environment) {
        settings.cluster_domain = domain;
    }
    settings.is_ipv6 = args.ipv6;
    settings.namespace = text(&args.watch_namespace, env::HOLDFAST_WATCH_NAMESPACE, environment);
    let address =
        |text: &str| if text == "off" { Some(None) } else { text.parse::<SocketAddr>().ok().map(Some) };
    let expected = "an address such as 0.0.0.0:8202, or off";
    let address = choice(&args.probe_address, env::HOLDFAST_PROBE_ADDRESS, environment, expected, address)?;
    let everywhere = if args.ipv6 { [0; 8].into() } else { std::net::IpAddr::from([0; 4]) };
    settings.probe_address = address.unwrap_or(Some(SocketAddr::new(everywhere, PORT_PROBE)));
    settings.instance = environment.get(env::POD_NAME).unwrap_or_default();
    Ok(settings)
}

/// The API server: of the kubeconfig that is named, else of the pod, else of the usual kubeconfig.
pub(super) fn source(args: &OperatorArgs, environment: &Environment) -> Result<Source, Failure> {
    let named = args.kubeconfig.clone().or_else(|| environment.get(env::KUBECONFIG).map(PathBuf::from));
    if let Some(path) = named {
        return Ok(Source::Kubeconfig(path));
    }
    if environment.get(env::KUBERNETES_SERVICE_HOST).is_some() {
        return Ok(Source::InCluster);
    }
    let home = environment.get(env::HOME).ok_or_else(|| {
        Failure::local("the API server is not known: this is no pod; name a kubeconfig with -kubeconfig=FILE or KUBECONFIG")
    })?;
    Ok(Source::Kubeconfig(Path::new(&home).join(".kube/config")))
}

fn end_on_signals(shutdown: &Shutdown) -> Result<task::Guarded<()>, Failure> {
    let listen =
        |kind| signal(kind).map_err(|e| Failure::local(format!("signals cannot be listened for: {e}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let shutdown = shutdown.clone();
    Ok(task::guard("signals", async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: the operator ends"),
            _ = interrupt.recv() => tracing::info!("SIGINT: the operator ends"),
        }
        shutdown.trigger();
    }))
}
