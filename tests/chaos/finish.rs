//! What is stored when everything has healed, asked at every node.

use std::io::Write;
use std::path::Path;

use crate::http::until;
use crate::judge::{Final, Row};
use crate::load::{COUNTERS, REGISTERS, stored as register};
use crate::record::Event;
use crate::testbed::{PATIENCE, Testbed};

/// What every node answers for every key, from the state that it has itself; counters and registers.
pub async fn stored(testbed: &Testbed, wrong: &mut Vec<String>) -> Final {
    wrong.extend(testbed.all_ready().await);
    let mut stored = Final::default();
    if !wrong.is_empty() {
        return stored;
    }
    for node in 0..testbed.nodes.len() {
        for key in 0..REGISTERS {
            let answer = read(testbed, node, &format!("registers/r{key}")).await;
            stored.registers.entry(key).or_default().push(register(&answer));
        }
        for counter in 0..COUNTERS {
            let answer = read(testbed, node, &format!("counters/data/c{counter}")).await;
            let count = answer.body["data"]["data"]["value"].as_u64().unwrap_or(0);
            stored.counters.entry(counter).or_default().push(count);
        }
    }
    stored
}

/// How many tokens there are.
pub async fn tokens(testbed: &Testbed) -> usize {
    let http = testbed.nodes[0].direct.with_token(&testbed.token);
    until("the list of tokens", PATIENCE, || async {
        let answer = http.call("LIST", "auth/token/accessors", None).await.map_err(|e| format!("{e:?}"))?;
        match answer.body["data"]["keys"].as_array() {
            Some(keys) => Ok(keys.len()),
            None => Err(format!("{} {}", answer.status, answer.body)),
        }
    })
    .await
}

async fn read(testbed: &Testbed, node: usize, path: &str) -> crate::http::Answer {
    let http = testbed.nodes[node].direct.with_token(&testbed.token);
    until("a read at the end", PATIENCE, || async {
        match http.call("GET", path, None).await {
            Ok(answer) if matches!(answer.status, 200 | 404) => Ok(answer),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Writes operations and journal, one JSON object a line.
pub fn write_history(path: &Path, events: &[Event], journal: &[Row]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for event in events {
        writeln!(file, "{}", serde_json::to_string(event).unwrap()).unwrap();
    }
    for row in journal {
        writeln!(file, "{}", serde_json::to_string(row).unwrap()).unwrap();
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new(program).args(arguments).current_dir(root).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The day, the commit and the machine.
pub fn about() -> String {
    format!(
        "{}, {}, {} cores, Linux {}",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("git", &["describe", "--always", "--dirty"]),
        said("nproc", &[]),
        said("uname", &["-r"]),
    )
}

/// Writes the page of the last long run.
pub fn keep(backend: &str, about: &str, totals: &str) {
    let text = format!(
        "# Chaos on {backend}: the last long run\n\n{about}. Made by `make chaos`.\n\n```\n{totals}```\n"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("chaos-{backend}.md")), text).unwrap();
}
