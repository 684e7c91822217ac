//! What became of many requests, and whether a cluster answers again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::{Answer, Http, NoAnswer};

/// Counts answers by their kind. Clones count together.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    kinds: BTreeMap<String, usize>,
    slowest: Duration,
    /// Refusals that do not say when to try again.
    without_retry: usize,
}

impl Tally {
    /// Makes a call and counts what came of it; the answer, if there is one.
    pub async fn call(&self, http: &Http, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let begun = Instant::now();
        let answer = http.call(method, path, body).await;
        self.note(&answer, begun.elapsed());
        answer.ok()
    }

    fn note(&self, answer: &Result<Answer, NoAnswer>, took: Duration) {
        let mut counts = self.0.lock().unwrap();
        counts.slowest = counts.slowest.max(took);
        let kind = match answer {
            Ok(answer) if answer.status < 300 => "done".to_owned(),
            Ok(answer) => {
                counts.without_retry +=
                    usize::from(answer.status == 503 && !answer.headers.contains_key("retry-after"));
                let text: String = answer.error().chars().filter(|c| !c.is_ascii_digit()).take(90).collect();
                format!("{} {text}", answer.status)
            }
            Err(NoAnswer::Connect(_)) => "no connection".to_owned(),
            Err(NoAnswer::Broken(text)) if text.contains("no answer in") => "hangs".to_owned(),
            Err(NoAnswer::Broken(_)) => "broken connection".to_owned(),
        };
        *counts.kinds.entry(kind).or_default() += 1;
    }

    /// How many are of a kind that begins with `word`.
    pub fn of(&self, word: &str) -> usize {
        let counts = self.0.lock().unwrap();
        counts.kinds.iter().filter(|(kind, _)| kind.starts_with(word)).map(|(_, count)| count).sum()
    }

    pub fn all(&self) -> usize {
        self.of("")
    }

    pub fn slowest(&self) -> Duration {
        self.0.lock().unwrap().slowest
    }

    /// Fails unless every request was answered, and every refusal said when to try again.
    pub fn check(&self) {
        let counts = self.0.lock().unwrap();
        assert_eq!(counts.kinds.get("hangs"), None, "{:?}", counts.kinds);
        assert_eq!(counts.without_retry, 0, "{:?}", counts.kinds);
    }

    /// In words, for people.
    pub fn text(&self) -> String {
        let counts = self.0.lock().unwrap();
        let kinds: Vec<String> = counts.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        format!("{} (slowest {} ms)", kinds.join(", "), counts.slowest.as_millis())
    }
}

/// How long each node took, counted from `since`, until it answered a question for its health, a read and a write.
pub async fn recovered(cluster: &Cluster, since: Instant) -> Vec<Duration> {
    join_all((0..cluster.nodes.len()).map(|node| async move {
        // Connections of its own: those of the load may have a long queue.
        let mut http = Http::new(&cluster.nodes[node].http.url).with_token(&cluster.token);
        http.patience = Duration::from_secs(5);
        let path = format!("secret/data/recovered-{node}");
        loop {
            let asks = async {
                let health = http.call("GET", "sys/health", None).await?;
                let written = http.call("PUT", &path, Some(&json!({"data": {"n": node}}))).await?;
                let read = http.call("GET", &path, None).await?;
                let is_well = matches!(health.status, 200 | 429) && written.status == 200;
                let text = format!("{} {} {} {}", health.status, written.status, written.body, read.status);
                Ok::<_, NoAnswer>((is_well && read.body["data"]["data"]["n"] == node, text))
            };
            let state = match asks.await {
                Ok((true, _)) => return since.elapsed(),
                Ok((false, text)) => text,
                Err(error) => format!("{error:?}"),
            };
            let name = &cluster.nodes[node].name;
            assert!(since.elapsed() < Duration::from_secs(60), "{name} is stuck: {state}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }))
    .await
}

/// Times in milliseconds, for people.
pub fn millis(times: &[Duration]) -> String {
    let texts: Vec<String> = times.iter().map(|time| time.as_millis().to_string()).collect();
    texts.join(", ")
}
