//! `probe`: whether a URL answers with success.

use std::time::Duration;

use super::args::ProbeArgs;
use super::failure::Failure;
use super::output::Report;
use crate::api::client::{Client, ClientConfig, Trust};
use crate::base::clock::{Clock, SystemClock};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the command. What it asks is the probe listener of an own pod, so that no certificate is checked.
pub(super) async fn run(args: &ProbeArgs) -> Result<Report, Failure> {
    let config = ClientConfig {
        trust: Trust::Anybody,
        timeout: Duration::from_secs(5),
        max_retries: 0,
        ..ClientConfig::new(&args.url)
    };
    let client = Client::new(config).map_err(|e| Failure::call("probing", &e))?;
    let clock = SystemClock;
    let begun = clock.now();
    let patience = Duration::from_secs(u64::from(args.wait));
    loop {
        let failure = match ask(&client, &args.url).await {
            Ok(body) => return Ok(Report::text(body)),
            Err(failure) => failure,
        };
        if clock.now().since(begun) >= patience {
            return Err(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(client: &Client, url: &str) -> Result<String, Failure> {
    let answer = client.probe().await.map_err(|e| Failure::call("probing", &e))?;
    let body = String::from_utf8_lossy(&answer.body).trim_end().to_owned();
    if answer.is_success() {
        return Ok(body);
    }
    Err(Failure::refused(format!("{url} answered {}: {body}", answer.status)))
}
