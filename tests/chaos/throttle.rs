//! The real API server refuses what the vault's account asks: 429, by priority and fairness.

use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use crate::http::until;
use crate::members::{ACCOUNT, client};
use crate::testbed::PATIENCE;

const NAME: &str = "chaos";
/// How long it lets nothing pass, and then lets pass what few seats allow.
const PULSE: Duration = Duration::from_millis(700);

async fn api(kubeconfig: &std::path::Path, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("flowcontrol.apiserver.k8s.io", "v1", kind);
    Api::all_with(client(kubeconfig).await, &ApiResource::from_gvk(&kind))
}

async fn apply(api: &Api<DynamicObject>, kind: &str, spec: Value) -> Result<(), kube::Error> {
    let object = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "metadata": {"name": NAME}, "spec": spec,
    });
    api.patch(NAME, &PatchParams::apply(NAME).force(), &Patch::Apply(&object)).await.map(|_| ())
}

fn level(shares: u32) -> Value {
    json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": shares, "lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }})
}

fn flow() -> Value {
    let account =
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT, "namespace": "default"}});
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]);
    json!({
        "priorityLevelConfiguration": {"name": NAME}, "matchingPrecedence": 2,
        "rules": [{"subjects": [account], "resourceRules": everything}],
    })
}

/// Refuses for `lasts`, in turns everything and nearly nothing; how many requests were refused.
///
/// # Errors
/// What the API server says.
pub async fn throttle(kubeconfig: &std::path::Path, lasts: Duration) -> Result<u64, String> {
    let (levels, flows) =
        (api(kubeconfig, "PriorityLevelConfiguration").await, api(kubeconfig, "FlowSchema").await);
    let refused = pulse(kubeconfig, &levels, &flows, lasts).await;
    until("the end of the throttling", PATIENCE, || async {
        match flows.delete(NAME, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Ok(_) => Err("it was there".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    refused.map_err(|error| error.to_string())
}

async fn pulse(
    kubeconfig: &std::path::Path,
    levels: &Api<DynamicObject>,
    flows: &Api<DynamicObject>,
    lasts: Duration,
) -> Result<u64, kube::Error> {
    apply(levels, "PriorityLevelConfiguration", level(0)).await?;
    apply(flows, "FlowSchema", flow()).await?;
    let before = rejected(kubeconfig).await?;
    let begun = tokio::time::Instant::now();
    let mut shares = 0;
    while begun.elapsed() < lasts {
        tokio::time::sleep(PULSE).await;
        shares = 1 - shares;
        apply(levels, "PriorityLevelConfiguration", level(shares)).await?;
    }
    Ok(rejected(kubeconfig).await?.saturating_sub(before))
}

/// What the server counts as refused by this level.
async fn rejected(kubeconfig: &std::path::Path) -> Result<u64, kube::Error> {
    let request = http::Request::get("/metrics").body(Vec::new()).expect("a request");
    let text = client(kubeconfig).await.request_text(request).await?;
    let is_ours = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total{")
            && line.contains(&format!("priority_level=\"{NAME}\""))
    };
    let counts = text.lines().filter(is_ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum::<f64>() as u64)
}
