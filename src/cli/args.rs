//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Highly available vault clusters on Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    about = "Highly available vault clusters on Kubernetes: the operator, the server, and commands to talk to it.",
    after_help = "Long flags may be written with one dash, as Vault does: -address=https://127.0.0.1:8200.\n\
                  Exit codes: 0 success, 1 a failure on this side, 2 a refusal by the server or no answer from it.",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How to reach the server and how to show its answers.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection and output (all commands that call a server)")]
pub(super) struct Connection {
    /// URL of the server [env: VAULT_ADDR, default: https://127.0.0.1:8200]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) address: Option<String>,
    /// File with the CA certificates that may sign the server's certificate [env: VAULT_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_cert: Option<PathBuf>,
    /// Folder of such files [env: VAULT_CAPATH]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) ca_path: Option<PathBuf>,
    /// Accept any certificate: whoever is in between sees every secret [env: VAULT_SKIP_VERIFY]
    #[arg(long, global = true)]
    pub(super) tls_skip_verify: bool,
    /// Name to expect in the server's certificate [env: VAULT_TLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) tls_server_name: Option<String>,
    /// Namespace of the request [env: VAULT_NAMESPACE]
    #[arg(long, global = true, visible_alias = "ns", value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// How to show the answer: table or json [env: VAULT_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(super) format: Option<String>,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process makes one of these, once")]
pub(super) enum Command {
    /// Run a vault server
    Server(ServerArgs),
    /// Run the controller (alone or with run); or initialise, unseal, seal and step down a server
    #[command(args_conflicts_with_subcommands = true)]
    Operator {
        #[command(flatten)]
        args: OperatorArgs,
        #[command(subcommand)]
        command: Option<OperatorCommand>,
    },
    /// Print the definitions of the custom resources as YAML
    Crd(CrdArgs),
    /// Ask a URL and succeed if it answers with 2xx; for probes in images without a shell
    Probe(ProbeArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands that call a server.
#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Show how the server is sealed and who leads (exit code 0 unsealed, 2 sealed, 1 error)
    Status,
    /// Log in with a token, read from the standard input if it is not given, and store it
    Login(LoginArgs),
    /// Read a path
    Read(ReadArgs),
    /// Write data to a path
    Write(WriteArgs),
    /// List a path
    List(PathArgs),
    /// Delete a path
    Delete(PathArgs),
    /// Read and write key-value secrets, versioned or not
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Kv {
        #[command(subcommand)]
        command: KvCommand,
    },
}

#[derive(Debug, Args)]
pub(super) struct PathArgs {
    /// The path, for example secret/metadata
    pub(super) path: String,
}

#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Configuration, HCL or JSON: a file, or a folder of them; may be given more than once
    #[arg(long, value_name = "FILE|FOLDER", conflicts_with = "dev")]
    pub(super) config: Vec<PathBuf>,
    /// Run a server for development: in memory, without TLS, initialised and unsealed. Never for real secrets
    #[arg(long)]
    pub(super) dev: bool,
    /// Root token of the development server; it is visible in the process list [env: VAULT_DEV_ROOT_TOKEN_ID]
    #[arg(long, requires = "dev", value_name = "TOKEN")]
    pub(super) dev_root_token_id: Option<String>,
    /// Address of the development server [env: VAULT_DEV_LISTEN_ADDRESS, default: 127.0.0.1:8200]
    #[arg(long, requires = "dev", value_name = "ADDRESS")]
    pub(super) dev_listen_address: Option<String>,
    /// Lowest level that is logged: trace, debug, info, warn, error; wins over configuration and environment
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// Form of the log: standard or json; wins over configuration and environment
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CrdArgs {
    /// Write one file for each into this folder instead
    #[arg(long, value_name = "FOLDER")]
    pub(super) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// The URL, for example http://127.0.0.1:8202/readyz
    pub(super) url: String,
    /// Seconds to go on trying
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(super) wait: u16,
}

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// Token; without it, or with -, it is read from the standard input, which keeps it out of the process list
    pub(super) token: Option<String>,
    /// The auth method; only token is built in
    #[arg(long, default_value = "token", value_name = "METHOD")]
    pub(super) method: String,
    /// Do not store the token
    #[arg(long)]
    pub(super) no_store: bool,
    /// Print the token alone
    #[arg(long)]
    pub(super) token_only: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReadArgs {
    /// The path, for example sys/mounts/secret
    pub(super) path: String,
    /// Members of the query, key=value
    #[arg(value_name = "KEY=VALUE")]
    pub(super) query: Vec<String>,
    /// Print this member of the data alone
    #[arg(long, value_name = "NAME")]
    pub(super) field: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    /// The path
    pub(super) path: String,
    /// Data: key=value, key=@file, key=- (standard input), @file.json, or - (JSON on the standard input)
    #[arg(value_name = "DATA")]
    pub(super) data: Vec<String>,
    /// Write without data
    #[arg(short, long)]
    pub(super) force: bool,
    /// Print this member of the answer alone
    #[arg(long, value_name = "NAME")]
    pub(super) field: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum KvCommand {
    /// Read a secret
    Get(KvGetArgs),
    /// Write a secret
    Put(KvPutArgs),
    /// List names
    List(KvPath),
    /// Delete the newest version, or the versions given
    Delete(KvDeleteArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct KvPath {
    /// The path: mount and name, or the name alone with -mount
    pub(super) path: String,
    /// Where the engine is mounted
    #[arg(long, value_name = "PATH")]
    pub(super) mount: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct KvGetArgs {
    #[command(flatten)]
    pub(super) at: KvPath,
    /// The version to read
    #[arg(long, value_name = "NUMBER")]
    pub(super) version: Option<u64>,
    /// Print this member of the secret alone
    #[arg(long, value_name = "NAME")]
    pub(super) field: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct KvPutArgs {
    #[command(flatten)]
    pub(super) at: KvPath,
    /// Data: key=value, key=@file, key=- (standard input), @file.json, or - (JSON on the standard input)
    #[arg(value_name = "DATA", required = true)]
    pub(super) data: Vec<String>,
    /// Write only if this is the newest version; 0: only if there is none
    #[arg(long, value_name = "NUMBER")]
    pub(super) cas: Option<u64>,
    /// Print this member of the answer alone
    #[arg(long, value_name = "NAME")]
    pub(super) field: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct KvDeleteArgs {
    #[command(flatten)]
    pub(super) at: KvPath,
    /// The versions to delete
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub(super) versions: Vec<u64>,
}

#[derive(Debug, Args)]
pub(super) struct OperatorArgs {
    /// Image that clusters run unless they name their own [env: HOLDFAST_IMAGE]
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// When that image is pulled: Always, IfNotPresent or Never [env: HOLDFAST_PULL_POLICY, default: IfNotPresent]
    #[arg(long, value_name = "POLICY")]
    pub(super) pull_policy: Option<String>,
    /// The one namespace to watch [env: HOLDFAST_WATCH_NAMESPACE, default: all]
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) watch_namespace: Option<String>,
    /// Domain of the cluster's DNS [env: HOLDFAST_CLUSTER_DOMAIN, default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub(super) cluster_domain: Option<String>,
    /// Servers listen on IPv6, and with it on IPv4 where there is both
    #[arg(long)]
    pub(super) ipv6: bool,
    /// Address of probes and metrics, or off [env: HOLDFAST_PROBE_ADDRESS, default: 0.0.0.0:8202]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) probe_address: Option<String>,
    /// How to reach the API server from outside of the cluster [env: KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Lowest level that is logged: trace, debug, info, warn, error [env: HOLDFAST_LOG_LEVEL, default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// Form of the log: standard or json [env: HOLDFAST_LOG_FORMAT, default: standard]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum OperatorCommand {
    /// Run the controller
    Run(OperatorArgs),
    #[command(flatten)]
    Verb(OperatorVerb),
}

/// What people do to one server.
#[derive(Debug, Subcommand)]
pub(super) enum OperatorVerb {
    /// Initialise a vault: its keys and its first token are shown this once
    Init(InitArgs),
    /// Enter a share of the key, read from the standard input if it is not given
    Unseal(UnsealArgs),
    /// Seal the server
    Seal,
    /// Ask the active server to give up leadership
    StepDown,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Into how many shares the key is split
    #[arg(long, short = 'n', default_value_t = 5, value_name = "NUMBER")]
    pub(super) key_shares: u32,
    /// How many of them unseal
    #[arg(long, short = 't', default_value_t = 3, value_name = "NUMBER")]
    pub(super) key_threshold: u32,
    /// Into how many shares the recovery key is split, where the server unseals itself
    #[arg(long, default_value_t = 5, value_name = "NUMBER")]
    pub(super) recovery_shares: u32,
    /// How many of them are needed
    #[arg(long, default_value_t = 3, value_name = "NUMBER")]
    pub(super) recovery_threshold: u32,
    /// Only say whether it is initialised (exit code 0 yes, 2 no, 1 error)
    #[arg(long)]
    pub(super) status: bool,
}

#[derive(Debug, Args)]
pub(super) struct UnsealArgs {
    /// A share; without it, or with -, it is read from the standard input, which keeps it out of the process list
    pub(super) key: Option<String>,
    /// Forget the shares entered so far
    #[arg(long)]
    pub(super) reset: bool,
}
