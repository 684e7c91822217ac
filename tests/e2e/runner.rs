//! Runs scenarios one after another against one lab, prints a line for each and counts.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::lab::Lab;

type Run = Box<dyn Fn(Context) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// How a scenario ended: what it measured, or what was wrong.
pub type Outcome = Result<Vec<String>, String>;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One round, short spans, a sample: what continuous integration runs.
    Short,
    /// Everything.
    Full,
}

/// What a scenario gets.
#[derive(Clone)]
pub struct Context {
    pub lab: Lab,
    pub depth: Depth,
}

impl Context {
    /// `full` in a full run, else `short`.
    pub fn pick<T>(&self, short: T, full: T) -> T {
        if self.depth == Depth::Full { full } else { short }
    }
}

/// A named scenario.
pub struct Scenario {
    name: &'static str,
    run: Run,
}

impl Scenario {
    pub fn new<F, R>(name: &'static str, run: F) -> Self
    where
        F: Fn(Context) -> R + 'static,
        R: Future<Output = Outcome> + 'static,
    {
        Self { name, run: Box::new(move |context| Box::pin(run(context))) }
    }
}

/// Runs what the arguments select (all if none) and returns 0, 1 if a scenario failed, 70 if the lab is at fault.
pub fn run(scenarios: Vec<Scenario>) -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let depth =
        if std::env::var("HOLDFAST_E2E").as_deref() == Ok("full") { Depth::Full } else { Depth::Short };
    let lab = match Lab::from_environment() {
        Ok(lab) => lab,
        Err(why) => {
            println!("lab fault: {why}");
            return ExitCode::from(70);
        }
    };
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let context = Context { lab, depth };
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for scenario in scenarios {
        if !filters.is_empty() && !filters.iter().any(|f| scenario.name.contains(f.as_str())) {
            skipped += 1;
            continue;
        }
        println!("=== {}", scenario.name);
        let begun = Instant::now();
        let outcome = runtime.block_on(AssertUnwindSafe((scenario.run)(context.clone())).catch_unwind());
        let elapsed = begun.elapsed();
        match outcome {
            Ok(Ok(lines)) => {
                for line in lines {
                    println!("    {line}");
                }
                println!("--- passed {} ({:.1} s)", scenario.name, elapsed.as_secs_f64());
                passed += 1;
            }
            Ok(Err(why)) => {
                println!("    {why}");
                println!("--- FAILED {} ({:.1} s)", scenario.name, elapsed.as_secs_f64());
                context.lab.show_state();
                failed.push(scenario.name);
            }
            Err(_) => {
                println!("--- FAILED {} by a panic ({:.1} s)", scenario.name, elapsed.as_secs_f64());
                context.lab.show_state();
                failed.push(scenario.name);
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed, {skipped} skipped", failed.len());
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until `check` gives a value; the last reason is the error after `limit`.
pub async fn eventually<T, F, R>(what: &str, limit: Duration, mut check: F) -> Result<T, String>
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    loop {
        let why = match check().await {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        if begun.elapsed() > limit {
            return Err(format!("{what}: not within {} s: {why}", limit.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
