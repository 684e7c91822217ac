//! How old a read may be, who answers it, and what the headers of clients change about that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast::vault::node::Server;
use serde_json::{Value, json};

use crate::http::{Answer, Http, until};
use crate::{PATIENCE, plain, three_servers};

/// Three servers without TLS, initialised, with a secret.
struct Nodes {
    servers: Vec<Server>,
    token: String,
    leader: usize,
    _folder: tempfile::TempDir,
}

impl Nodes {
    /// With `extra` in their configuration.
    async fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stanzas = format!(
            r#"
            listener "tcp" {{ address = "127.0.0.1:0" tls_disable = true }}
            telemetry {{ probe_address = "127.0.0.1:0" }}
            {extra}
            "#
        );
        let servers = three_servers(folder.path(), &stanzas).await;
        let mut nodes = Self { servers, token: String::new(), leader: 0, _folder: folder };
        let made = nodes.client(0).put("sys/init", &json!({})).await.expect(200);
        nodes.token = made["root_token"].as_str().unwrap().to_owned();
        nodes.leader = until("a leader that everybody knows", PATIENCE, || async {
            let mut active = Vec::new();
            for node in 0..3 {
                let answer = nodes.client(node).get("sys/leader").await;
                let is_known = answer.body["leader_address"].as_str().is_some_and(|text| !text.is_empty());
                if !is_known {
                    return Err(format!("{}", answer.body));
                }
                if answer.body["is_self"] == true {
                    active.push(node);
                }
            }
            if active.len() == 1 { Ok(active[0]) } else { Err(format!("{active:?}")) }
        })
        .await;
        let mount = json!({"type": "kv", "options": {"version": "2"}});
        nodes.client(nodes.leader).put("sys/mounts/secret", &mount).await.expect(204);
        nodes.client(nodes.leader).put("secret/data/a", &json!({"data": {"n": 1}})).await.expect(200);
        nodes
    }

    fn client(&self, node: usize) -> Http {
        Http::new(&format!("http://{}", self.servers[node].api_addresses[0])).with_token(&self.token)
    }

    fn standby(&self) -> usize {
        (self.leader + 1) % 3
    }

    /// Requests that the standby has sent on.
    async fn forwarded(&self) -> u64 {
        let probe = self.servers[self.standby()].probe_address.unwrap();
        let (_, metrics) = plain(&format!("http://{probe}/metrics")).await;
        let line = metrics.lines().find(|line| line.starts_with("holdfast_http_requests_forwarded_total "));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    }

    /// Reads the secret at the standby with these headers; whether the standby asked the active node to answer.
    async fn read(&self, headers: &[(&'static str, &str)]) -> (Answer, bool) {
        let before = self.forwarded().await;
        let mut client = self.client(self.standby());
        for (name, value) in headers {
            client = client.with_header(name, value);
        }
        let answer = client.get("secret/data/a").await;
        (answer, self.forwarded().await > before)
    }
}

fn index_of(answer: &Answer) -> String {
    answer.headers["x-vault-index"].to_str().unwrap().to_owned()
}

/// The index with other parts: cluster, and what is added to its two numbers.
fn changed(index: &str, cluster: Option<&str>, seq: u64, epoch: u64) -> String {
    let plain = String::from_utf8(STANDARD.decode(index).unwrap()).unwrap();
    let parts: Vec<&str> = plain.split(':').collect();
    let number = |at: usize, more: u64| parts[at].parse::<u64>().unwrap() + more;
    let cluster = cluster.unwrap_or(parts[1]);
    STANDARD.encode(format!("v1:{cluster}:{}:{}:sum", number(2, seq), number(3, epoch)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_chooses_who_answers_and_what_it_must_see() {
    let nodes = Nodes::start("").await;
    let (answer, was_forwarded) = nodes.read(&[]).await;
    let index = index_of(&answer);
    assert_eq!(answer.expect(200)["data"]["data"]["n"], 1);
    assert!(!was_forwarded, "a standby answers reads");
    let (answer, was_forwarded) = nodes.read(&[("x-vault-forward", "active-node")]).await;
    answer.expect(200);
    assert!(was_forwarded);
    let (answer, _) = nodes.read(&[("x-vault-forward", "anybody")]).await;
    assert!(answer.expect(400)["errors"][0].as_str().unwrap().contains("active-node"));

    // What clients have seen of this cluster, and what they kept of another one.
    let other = changed(&index, Some("5f0c1d3a-9a0e-4a53-8f0e-3a0d2b6a7c11"), 1000, 1000);
    for known in [&index, &changed(&index, None, 0, 0), &other] {
        let (answer, was_forwarded) = nodes.read(&[("x-vault-index", known)]).await;
        answer.expect(200);
        assert!(!was_forwarded, "{known}");
    }
    // A later state than there is: the storage went back in time, and nobody answers from before that.
    for inconsistent in ["fail", "forward-active-node", "await-state"] {
        for (seq, epoch) in [(1000, 0), (0, 1)] {
            let later = changed(&index, None, seq, epoch);
            let headers = [("x-vault-index", later.as_str()), ("x-vault-inconsistent", inconsistent)];
            let (answer, _) = nodes.read(&headers).await;
            let text = answer.expect(412)["errors"][0].clone();
            assert!(text.as_str().unwrap().starts_with("required index state not present"), "{text}");
        }
    }
    let (answer, _) = nodes.read(&[("x-vault-index", "c29vbg==")]).await;
    answer.expect(400);
    // A write is never refused for it: it would have been carried out.
    let later = changed(&index, None, 1000, 0);
    let client = nodes.client(nodes.standby()).with_header("x-vault-index", &later);
    client.put("secret/data/a", &json!({"data": {"n": 2}})).await.expect(200);

    // Nobody has allowed old answers here, whatever a request accepts.
    for _ in 0..20 {
        let (answer, _) = nodes.read(&[("x-holdfast-max-staleness", "24h")]).await;
        assert!(!answer.headers.contains_key("x-holdfast-staleness"), "{:?}", answer.headers);
        assert_eq!(answer.expect(200)["data"]["data"]["n"], 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn standbys_that_answer_no_reads_forward_them() {
    for switch in ["disable_performance_standby", "disable_standby_reads"] {
        let nodes = Nodes::start(&format!("{switch} = true")).await;
        let (answer, was_forwarded) = nodes.read(&[]).await;
        assert_eq!(answer.expect(200)["data"]["data"]["n"], 1);
        assert!(was_forwarded, "{switch}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn old_answers_are_for_those_who_accept_them_and_never_for_tokens() {
    let nodes = Nodes::start("ha { staleness_limit = \"10m\" }").await;
    let is_old = |answer: &Answer| answer.headers.contains_key("x-holdfast-staleness");
    let (answer, _) = nodes.read(&[]).await;
    assert!(!is_old(&answer), "linearizable unless a request says otherwise");
    let (answer, _) = nodes.read(&[("x-holdfast-max-staleness", "10m")]).await;
    assert!(is_old(&answer), "{:?}", answer.headers);
    // Read-your-writes comes first.
    let index = index_of(&answer);
    let (answer, _) = nodes.read(&[("x-holdfast-max-staleness", "10m"), ("x-vault-index", &index)]).await;
    assert!(!is_old(&answer), "{:?}", answer.headers);
    let patient = nodes.client(nodes.standby()).with_header("x-holdfast-max-staleness", "10m");
    patient.put("cubbyhole/a", &json!({"n": 1})).await.expect(204);
    for path in ["auth/token/lookup-self", "cubbyhole/a"] {
        let answer = patient.get(path).await;
        assert!(!is_old(&answer), "{path}: {:?}", answer.headers);
        assert_ne!(answer.expect(200)["data"], Value::Null);
    }
}
