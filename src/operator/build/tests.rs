//! From a cluster in a few lines of YAML to its children.

use base64::Engine;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::meta::{Child, Kind};
use super::{Context, certificates, config, keys, pod, stateful_set};
use crate::base::clock::{Clock, SystemClock, UnixMillis};
use crate::base::random::SeededRandom;
use crate::config::{ClientTls, StorageConfig};
use crate::crd::VaultCluster;
use crate::crypto::x509;
use crate::operator::plan::children;
use crate::operator::settings::Settings;

fn cluster(spec: &str) -> VaultCluster {
    let text = format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: VaultCluster\nmetadata: {{name: main, namespace: secrets, uid: u-1}}\nspec: {spec}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn settings() -> Settings {
    Settings::for_image("registry:5000/holdfast:0.1.0")
}

fn round_trip<K: DeserializeOwned + Serialize>(child: &Child) {
    let typed: K = serde_json::from_value(child.value.clone()).unwrap();
    let back = serde_json::to_value(typed).unwrap();
    assert!(
        crate::operator::live::is_applied(&child.value, &back),
        "a field of {child:?} is not one of the API:\n{}\n{back}",
        child.value
    );
}

#[test]
fn every_field_is_one_of_the_api() {
    let settings = settings();
    for spec in [
        "{}",
        "{profile: Development, replicas: 1, storage: {type: Memory}, tls: {mode: Disabled}}",
        "{tls: {mode: Secret, secretRef: {name: mine}}, unseal: {type: Shamir}, scheduling: {spread: Required, nodeSelector: {a: b}, tolerations: [{key: k, operator: Exists}], priorityClassName: high}}",
        "{storage: {type: Etcd, etcd: {endpoints: ['https://e:2379'], credentialsSecretRef: {name: c}, tlsSecretRef: {name: t}, caSecretRef: {name: a}}}}",
        "{replicas: 1, storage: {type: File, file: {size: 2Gi, storageClassName: fast}}}",
        "{image: {pullSecrets: [one], pullPolicy: Always, tag: v2}, resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}, service: {type: LoadBalancer, annotations: {a: b}}}",
    ] {
        let cluster = cluster(spec);
        let context = Context::new(&cluster, &settings).unwrap();
        let all = children(&context);
        assert!(all.len() >= 9, "{spec}: {all:?}");
        for child in &all {
            match child.kind {
                Kind::ServiceAccount => round_trip::<ServiceAccount>(child),
                Kind::Role => round_trip::<Role>(child),
                Kind::RoleBinding => round_trip::<RoleBinding>(child),
                Kind::Lease => round_trip::<Lease>(child),
                Kind::Secret => round_trip::<Secret>(child),
                Kind::Service => round_trip::<Service>(child),
                Kind::PodDisruptionBudget => round_trip::<PodDisruptionBudget>(child),
                Kind::StatefulSet => round_trip::<StatefulSet>(child),
                Kind::Head => assert_eq!(child.value["spec"], json!({})),
            }
        }
    }
}

#[test]
fn the_smallest_cluster_has_the_agreed_names() {
    let (cluster, settings) = (cluster("{}"), settings());
    let context = Context::new(&cluster, &settings).unwrap();
    let names: Vec<String> = children(&context).iter().map(|c| format!("{c:?}")).collect();
    let config = format!("Secret/{}", config::name(&context));
    for name in [
        "ServiceAccount/main",
        "Role/main",
        "RoleBinding/main",
        "Lease/main",
        "VaultStoreHead/main",
        config.as_str(),
        "Service/main",
        "Service/main-active",
        "Service/main-standby",
        "Service/main-internal",
        "PodDisruptionBudget/main",
        "StatefulSet/main",
    ] {
        assert!(names.contains(&name.to_owned()), "{name} is not among {names:?}");
    }
}

#[test]
fn data_outlives_the_object_unless_told_otherwise() {
    let settings = settings();
    for (spec, kept) in [("{}", true), ("{deletion: {policy: Delete}}", false)] {
        let cluster = cluster(spec);
        let context = Context::new(&cluster, &settings).unwrap();
        for child in children(&context) {
            let owned = child.value.pointer("/metadata/ownerReferences").is_some();
            assert_eq!(owned, !(kept && child.kind == Kind::Head), "{child:?} under {spec}");
        }
        for secret in
            [keys::unseal_key(&context, &SeededRandom::new(1)), keys::init(&context, &SeededRandom::new(1))]
        {
            assert_eq!(secret.value.pointer("/metadata/ownerReferences").is_none(), kept, "{secret:?}");
        }
    }
}

#[test]
fn pods_meet_the_restricted_standard() {
    let (cluster, settings) = (cluster("{}"), settings());
    let context = Context::new(&cluster, &settings).unwrap();
    let set = stateful_set::stateful_set(&context).value;
    let spec = &set["spec"]["template"]["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &spec["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["terminationGracePeriodSeconds"], 60);
    let text = set.to_string();
    for never in ["hostPath", "hostNetwork", "privileged", "main-ca\""] {
        assert!(!text.contains(never), "the pods must not have {never}");
    }
}

#[test]
fn pods_may_touch_their_own_objects_alone() {
    let (cluster, settings) = (cluster("{}"), settings());
    let context = Context::new(&cluster, &settings).unwrap();
    let role = children(&context).into_iter().find(|c| c.kind == Kind::Role).unwrap().value;
    let rules = role["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 3);
    for rule in rules {
        let segments = rule["resources"] == json!(["vaultstoresegments"]);
        assert_eq!(rule.get("resourceNames").is_none(), segments, "{rule}");
        let text = rule.to_string();
        assert!(!text.contains('*') && !text.contains("secrets") && !text.contains("pods"), "{rule}");
    }
}

#[test]
fn images_are_put_together() {
    let mut settings = settings();
    for (spec, image) in [
        ("{}", "registry:5000/holdfast:0.1.0"),
        ("{image: {tag: v2}}", "registry:5000/holdfast:v2"),
        ("{image: {repository: 'other:1/h'}}", "other:1/h:0.1.0"),
        ("{image: {repository: h, tag: v3}}", "h:v3"),
    ] {
        let cluster = cluster(spec);
        assert_eq!(pod::image(&Context::new(&cluster, &settings).unwrap()), image, "{spec}");
    }
    settings.image = "r/holdfast@sha256:abc".to_owned();
    let cluster = cluster("{image: {tag: v2}}");
    assert_eq!(pod::image(&Context::new(&cluster, &settings).unwrap()), "r/holdfast:v2");
}

#[test]
fn the_configuration_follows_the_specification() {
    let settings = settings();
    let read = |spec: &str| -> Value {
        let cluster = cluster(spec);
        serde_json::from_str(&config::content(&Context::new(&cluster, &settings).unwrap())).unwrap()
    };
    let small = read("{}");
    assert_eq!(small["storage"]["kubernetes"], json!({"namespace": "secrets", "name": "main"}));
    assert_eq!(small["seal"]["static"]["current_key"], "file:///etc/holdfast/unseal/key");
    assert_eq!(small["listener"]["tcp"]["tls_issuer_dir"], "/etc/holdfast/tls");
    assert_eq!(small["ha"]["lease_duration"], "6s");
    let other = read("{unseal: {type: Shamir}, ha: {leaseDurationSeconds: 30, maxStalenessSeconds: 5}}");
    assert_eq!(other.get("seal"), None);
    assert_eq!(other["ha"], json!({"lease_duration": "30s", "max_staleness": "5s"}));
    assert_eq!(other.get("disable_standby_reads"), None);
    let other = read("{ha: {stalenessLimitSeconds: 60, standbyReads: false}}");
    assert_eq!(other["ha"]["staleness_limit"], "60s");
    assert_eq!(other["disable_standby_reads"], true);
    let bare = read("{profile: Development, replicas: 1, storage: {type: Memory}, tls: {mode: Disabled}}");
    assert_eq!(bare["storage"], json!({"inmem": {}}));
    assert_eq!(bare.get("ha_storage"), None);
    assert_eq!(bare["listener"]["tcp"]["tls_disable"], true);
}

#[test]
fn another_configuration_is_another_secret_and_another_template() {
    let settings = settings();
    let (one, two) = (cluster("{}"), cluster("{ha: {leaseDurationSeconds: 7}}"));
    let (one, two) = (Context::new(&one, &settings).unwrap(), Context::new(&two, &settings).unwrap());
    assert_ne!(config::name(&one), config::name(&two));
    assert_ne!(pod::template(&one), pod::template(&two));
}

#[test]
fn certificates_are_made_once_and_the_issuer_is_renewed() {
    let (cluster, settings) = (cluster("{}"), settings());
    let context = Context::new(&cluster, &settings).unwrap();
    let random = SeededRandom::new(3);
    let now = SystemClock.unix();
    let first = certificates::plan(&context, None, None, now, &random).unwrap();
    let ca = first.create_ca.unwrap();
    assert_eq!(first.apply.len(), 2);
    assert!(first.apply[0].value.to_string().find("tls.key").is_none(), "the published Secret has no key");
    let issuer = &first.apply[1];
    let again = certificates::plan(&context, Some(&ca.value), Some(&issuer.value), now, &random).unwrap();
    assert!(again.create_ca.is_none());
    assert_eq!(again.apply.len(), 1, "the issuer stays");
    let later = now.plus_seconds(300 * 86_400);
    let renewed = certificates::plan(&context, Some(&ca.value), Some(&issuer.value), later, &random).unwrap();
    assert_eq!(renewed.apply.len(), 2);
    assert!(renewed.expires.unwrap() > again.expires.unwrap());
    let chain = base64::engine::general_purpose::STANDARD
        .decode(issuer.value["data"]["tls.crt"].as_str().unwrap())
        .unwrap();
    let info = x509::inspect(&String::from_utf8(chain).unwrap()).unwrap();
    assert!(info.subject.contains("holdfast issuer of main.secrets"), "{}", info.subject);
    assert!(info.validity.not_after > UnixMillis(now.0));
    let mut elsewhere = settings.clone();
    elsewhere.cluster_domain = "corp.example".to_owned();
    let moved = Context::new(&cluster, &elsewhere).unwrap();
    let moved = certificates::plan(&moved, Some(&ca.value), Some(&issuer.value), now, &random).unwrap();
    assert_eq!(moved.apply.len(), 2, "another domain needs another issuer");
    assert!(certificates::plan(&context, Some(&json!({"data": {}})), None, now, &random).is_err());
}

#[test]
fn the_server_reads_the_configuration_as_it_was_meant() {
    let settings = settings();
    for (spec, kind) in [
        ("{}", "kubernetes"),
        ("{unseal: {type: Shamir}, tls: {mode: Secret, secretRef: {name: mine}}}", "kubernetes"),
        ("{storage: {kubernetes: {dataLimitBytes: 2000000, budgetBytesPerSecond: 5000}}}", "kubernetes"),
        ("{profile: Development, replicas: 1, storage: {type: Memory}, tls: {mode: Disabled}}", "inmem"),
        (
            "{storage: {type: Etcd, etcd: {endpoints: ['https://e:2379'], credentialsSecretRef: {name: c}, tlsSecretRef: {name: t}, caSecretRef: {name: a}, tlsServerName: storage.example}}}",
            "etcd",
        ),
        (
            "{storage: {type: Consul, consul: {address: 'https://c:8501', credentialsSecretRef: {name: c}, caSecretRef: {name: a}, tlsServerName: storage.example}}}",
            "consul",
        ),
        (
            "{storage: {type: ZooKeeper, zooKeeper: {servers: ['z-0:2281', 'z-1:2281'], credentialsSecretRef: {name: c}, caSecretRef: {name: a}, tlsServerName: storage.example}}}",
            "zookeeper",
        ),
        (
            "{storage: {type: PostgreSQL, postgreSQL: {connectionSecretRef: {name: c}, caSecretRef: {name: a}, table: t, tlsServerName: storage.example}}}",
            "postgresql",
        ),
        ("{replicas: 1, storage: {type: File, file: {size: 2Gi, storageClassName: fast}}}", "file"),
    ] {
        let cluster = cluster(spec);
        let content = config::content(&Context::new(&cluster, &settings).unwrap());
        let read =
            crate::config::parse(&[("holdfast.json", &content)], &crate::config::Environment::fixed([]));
        let read = read.unwrap_or_else(|problems| panic!("{spec}: {problems}\n{content}"));
        assert_eq!(read.storage.kind(), kind);
        let expected = spec.contains("tlsServerName").then_some("storage.example");
        assert_eq!(tls(&read.storage).and_then(|tls| tls.server_name.as_deref()), expected, "{spec}");
        assert_eq!(read.listeners.len(), 1);
        assert_eq!(read.listeners[0].address.port(), 8200);
        assert_eq!(read.telemetry.probe_address.map(|a| a.port()), Some(8202));
        assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    }
}

fn tls(storage: &StorageConfig) -> Option<&ClientTls> {
    match storage {
        StorageConfig::Etcd(etcd) => Some(&etcd.tls),
        StorageConfig::Consul(consul) => Some(&consul.tls),
        StorageConfig::Zookeeper(zookeeper) => zookeeper.tls.as_ref(),
        StorageConfig::Postgresql(postgresql) => Some(&postgresql.tls),
        _ => None,
    }
}
