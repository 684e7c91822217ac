//! Typed server configuration: what the file and the environment say, checked.
//!
//! [`load`] reads a file or folder into a [`ServerConfig`], which is always valid, or lists every problem at once.
//! [`hcl`] is the language, [`env`](mod@env) the one list of environment variables.

pub mod env;
pub mod hcl;

mod files;
mod ha;
mod ignored;
mod listener;
mod parse;
mod problem;
mod seal;
mod section;
mod server;
mod storage;
mod telemetry;

pub use env::Environment;
pub use files::{load, parse};
pub use ha::{AcceptedRollback, HaConfig};
pub use ignored::{IGNORED, Ignored};
pub use listener::{ListenerConfig, ListenerTls, TlsVersion};
pub use problem::{Place, Problem, Problems};
pub use seal::{KeySource, SealConfig, StaticKey, StaticSeal};
pub use server::{AddressEnvironment, DevConfig, PodEnvironment, ServerConfig};
pub use storage::{
    ChannelBinding, ClientTls, ConsulStorage, Credential, CredentialError, EtcdStorage, FileStorage,
    HaStorageConfig, KubernetesLock, KubernetesStorage, PostgresqlClash, PostgresqlHost, PostgresqlStorage,
    PostgresqlUrl, PostgresqlUrlError, Settings, StorageConfig, ZookeeperServer, ZookeeperStorage,
};
pub use telemetry::{LogConfig, LogFormat, LogLevel, TelemetryConfig};

/// Port of a listener that names none.
pub const DEFAULT_PORT: u16 = 8200;
