//! The storage as the server is told of it, and what the pods need to reach it.

use serde_json::{Map, Value, json};

use super::Context;
use crate::crd::cluster::{SecretRef, Storage, StorageType};
use crate::operator::names::{
    DATA_FOLDER, STORAGE_CA_FOLDER, STORAGE_CREDENTIALS_FOLDER, STORAGE_TLS_FOLDER,
};

/// Size of the volume of a storage in files that names none.
const VOLUME_SIZE: &str = "1Gi";
/// Name of the volume of a storage in files.
const DATA_VOLUME: &str = "data";

/// A Secret that the storage's section names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed<'a> {
    /// The field that names it, below `spec.storage`.
    pub(crate) field: &'static str,
    /// Its name.
    pub(crate) name: &'a str,
    /// What it must hold.
    pub(crate) keys: &'static [&'static str],
    /// The volume, and where it is mounted.
    volume: &'static str,
    folder: &'static str,
}

/// The sections' references: the field's name, and what it names.
type Reference<'a> = (&'static str, Option<&'a SecretRef>);

/// The Secrets that the storage's section names.
pub(crate) fn needed(storage: &Storage) -> Vec<Needed<'_>> {
    let (credentials, keys, tls, ca): (Reference<'_>, &'static [&'static str], Reference<'_>, Reference<'_>) =
        match storage.kind {
            StorageType::Etcd => {
                let Some(etcd) = &storage.etcd else { return Vec::new() };
                (
                    ("etcd.credentialsSecretRef", etcd.credentials_secret_ref.as_ref()),
                    &["username", "password"],
                    ("etcd.tlsSecretRef", etcd.tls_secret_ref.as_ref()),
                    ("etcd.caSecretRef", etcd.ca_secret_ref.as_ref()),
                )
            }
            StorageType::Consul => {
                let Some(consul) = &storage.consul else { return Vec::new() };
                (
                    ("consul.credentialsSecretRef", consul.credentials_secret_ref.as_ref()),
                    &["token"],
                    ("consul.tlsSecretRef", consul.tls_secret_ref.as_ref()),
                    ("consul.caSecretRef", consul.ca_secret_ref.as_ref()),
                )
            }
            StorageType::ZooKeeper => {
                let Some(zookeeper) = &storage.zoo_keeper else { return Vec::new() };
                (
                    ("zooKeeper.credentialsSecretRef", zookeeper.credentials_secret_ref.as_ref()),
                    &["auth-info"],
                    ("zooKeeper.tlsSecretRef", zookeeper.tls_secret_ref.as_ref()),
                    ("zooKeeper.caSecretRef", zookeeper.ca_secret_ref.as_ref()),
                )
            }
            StorageType::PostgreSQL => {
                let Some(postgresql) = &storage.postgresql else { return Vec::new() };
                (
                    ("postgreSQL.connectionSecretRef", postgresql.connection_secret_ref.as_ref()),
                    &["url"],
                    ("postgreSQL.tlsSecretRef", postgresql.tls_secret_ref.as_ref()),
                    ("postgreSQL.caSecretRef", postgresql.ca_secret_ref.as_ref()),
                )
            }
            StorageType::Kubernetes | StorageType::File | StorageType::Memory => return Vec::new(),
        };
    [
        one(credentials, keys, "storage-credentials", STORAGE_CREDENTIALS_FOLDER),
        one(tls, &["tls.crt", "tls.key"], "storage-tls", STORAGE_TLS_FOLDER),
        one(ca, &["ca.crt"], "storage-ca", STORAGE_CA_FOLDER),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn one<'a>(
    (field, reference): Reference<'a>,
    keys: &'static [&'static str],
    volume: &'static str,
    folder: &'static str,
) -> Option<Needed<'a>> {
    reference.map(|reference| Needed { field, name: &reference.name, keys, volume, folder })
}

/// `storage` of the server's configuration.
pub(crate) fn settings(context: &Context<'_>) -> Value {
    let storage = &context.cluster.spec.storage;
    let (base, namespace) = (&context.names.base, &context.names.namespace);
    let own_path = format!("holdfast/{namespace}/{base}");
    match storage.kind {
        StorageType::Memory => json!({"inmem": {}}),
        // Not the volume's own folder, whose owner and mode are the volume's.
        StorageType::File => json!({"file": {"path": format!("{DATA_FOLDER}/vault")}}),
        StorageType::Kubernetes => {
            let mut settings = json!({"namespace": namespace, "name": base});
            let section = storage.kubernetes.clone().unwrap_or_default();
            if let Some(bytes) = section.data_limit_bytes {
                settings["data_limit_bytes"] = json!(bytes);
            }
            if let Some(bytes) = section.budget_bytes_per_second {
                settings["budget_bytes_per_second"] = json!(bytes);
            }
            json!({"kubernetes": settings})
        }
        StorageType::Etcd => {
            let section = storage.etcd.clone().unwrap_or_default();
            let mut settings = tls(storage);
            settings.insert("address".to_owned(), json!(section.endpoints.join(",")));
            settings.insert("path".to_owned(), json!(section.path.unwrap_or(format!("/{own_path}/"))));
            if section.credentials_secret_ref.is_some() {
                settings.insert("username".to_owned(), credential("username"));
                settings.insert("password".to_owned(), credential("password"));
            }
            json!({"etcd": settings})
        }
        StorageType::Consul => {
            let section = storage.consul.clone().unwrap_or_default();
            let mut settings = tls(storage);
            settings.insert("address".to_owned(), json!(section.address.unwrap_or_default()));
            settings.insert("path".to_owned(), json!(section.path.unwrap_or(format!("{own_path}/"))));
            if section.credentials_secret_ref.is_some() {
                settings.insert("token".to_owned(), credential("token"));
            }
            json!({"consul": settings})
        }
        StorageType::ZooKeeper => {
            let section = storage.zoo_keeper.clone().unwrap_or_default();
            let mut settings = tls(storage);
            settings.insert("address".to_owned(), json!(section.servers.join(",")));
            settings.insert("path".to_owned(), json!(section.path.unwrap_or(format!("/{own_path}"))));
            if section.ca_secret_ref.is_some() {
                settings.insert("tls_enabled".to_owned(), json!(true));
            }
            if section.credentials_secret_ref.is_some() {
                settings.insert("auth_info".to_owned(), credential("auth-info"));
            }
            json!({"zookeeper": settings})
        }
        StorageType::PostgreSQL => {
            let section = storage.postgresql.clone().unwrap_or_default();
            let mut settings = tls(storage);
            settings.insert("connection_url".to_owned(), credential("url"));
            if let Some(table) = section.table {
                settings.insert("table".to_owned(), json!(table));
            }
            json!({"postgresql": settings})
        }
    }
}

fn credential(key: &str) -> Value {
    json!(format!("file://{STORAGE_CREDENTIALS_FOLDER}/{key}"))
}

fn tls(storage: &Storage) -> Map<String, Value> {
    let mut settings = Map::new();
    for secret in needed(storage) {
        match secret.folder {
            STORAGE_CA_FOLDER => {
                settings.insert("tls_ca_file".to_owned(), json!(format!("{STORAGE_CA_FOLDER}/ca.crt")));
            }
            STORAGE_TLS_FOLDER => {
                settings.insert("tls_cert_file".to_owned(), json!(format!("{STORAGE_TLS_FOLDER}/tls.crt")));
                settings.insert("tls_key_file".to_owned(), json!(format!("{STORAGE_TLS_FOLDER}/tls.key")));
            }
            _ => {}
        }
    }
    if let Some(name) = server_name(storage) {
        settings.insert("tls_server_name".to_owned(), json!(name));
    }
    settings
}

/// The name that the chosen section expects in certificates.
fn server_name(storage: &Storage) -> Option<&str> {
    match storage.kind {
        StorageType::Etcd => storage.etcd.as_ref()?.tls_server_name.as_deref(),
        StorageType::Consul => storage.consul.as_ref()?.tls_server_name.as_deref(),
        StorageType::ZooKeeper => storage.zoo_keeper.as_ref()?.tls_server_name.as_deref(),
        StorageType::PostgreSQL => storage.postgresql.as_ref()?.tls_server_name.as_deref(),
        StorageType::Kubernetes | StorageType::File | StorageType::Memory => None,
    }
}

/// Volumes of the pods, with their mounts.
pub(crate) fn volumes(context: &Context<'_>) -> Vec<(Value, Value)> {
    let secrets = needed(&context.cluster.spec.storage).into_iter().map(|secret| {
        let volume =
            json!({"name": secret.volume, "secret": {"secretName": secret.name, "defaultMode": 0o440}});
        let mount = json!({"name": secret.volume, "mountPath": secret.folder, "readOnly": true});
        (volume, mount)
    });
    secrets.collect()
}

/// The mount of the volume that [`claims`] makes.
pub(crate) fn data_mount(context: &Context<'_>) -> Option<Value> {
    let is_file = context.cluster.spec.storage.kind == StorageType::File;
    is_file.then(|| json!({"name": DATA_VOLUME, "mountPath": DATA_FOLDER}))
}

/// The claims of the StatefulSet: the volume of a storage in files. They outlive it.
pub(crate) fn claims(context: &Context<'_>) -> Option<Value> {
    let storage = &context.cluster.spec.storage;
    if storage.kind != StorageType::File {
        return None;
    }
    let section = storage.file.clone().unwrap_or_default();
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": section.size.unwrap_or(VOLUME_SIZE.to_owned())}},
    });
    if let Some(class) = section.storage_class_name {
        spec["storageClassName"] = json!(class);
    }
    Some(json!([{"metadata": {"name": DATA_VOLUME}, "spec": spec}]))
}
