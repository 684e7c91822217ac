//! The one list of environment variables, and the only way to read one.

use std::collections::BTreeMap;

use crate::base::secret::SecretString;

/// Who reads a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// `holdfast server`.
    Server,
    /// `holdfast operator`.
    Operator,
    /// The client commands.
    Client,
}

/// An environment variable that the program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Who reads it.
    pub reader: Reader,
    /// What it does, as the documentation prints it.
    pub about: &'static str,
}

macro_rules! variables {
    ($($reader:ident $name:ident $about:literal)*) => {
        $(
            #[doc = $about]
            pub const $name: Variable = Variable { name: stringify!($name), reader: Reader::$reader, about: $about };
        )*
        /// Every variable that is read, in the order of the documentation.
        pub const VARIABLES: &[Variable] = &[$($name),*];
    };
}

variables! {
    Server VAULT_API_ADDR "URL that this node advertises to clients; wins over `api_addr` of the configuration."
    Server VAULT_REDIRECT_ADDR "Older name of `VAULT_API_ADDR`; read if that is not set."
    Server VAULT_ADVERTISE_ADDR "Oldest name of `VAULT_API_ADDR`; read if neither of the two is set."
    Server VAULT_CLUSTER_ADDR "URL that this node advertises to its peers; wins over `cluster_addr` of the configuration."
    Server VAULT_LOG_LEVEL "Log level; wins over `log_level` of the configuration."
    Server VAULT_LOG_FORMAT "Log format, `standard` or `json`; wins over `log_format` of the configuration."
    Server VAULT_DEV_ROOT_TOKEN_ID "Root token of `server -dev`; without it one is drawn."
    Server VAULT_DEV_LISTEN_ADDRESS "Address of `server -dev`, by default 127.0.0.1:8200."
    Server VAULT_PG_CONNECTION_URL "URL of `storage \"postgresql\"`, or `file:///path` of it; wins over `connection_url` of the configuration."
    Server POD_IP "The pod's IP, from the downward API; advertised if no address is given."
    Server POD_NAME "The pod's name, from the downward API; the first part of the node's identity, and the operator's name in Events."
    Server POD_UID "The pod's UID, from the downward API; the second part of the node's identity."
    Server POD_NAMESPACE "The pod's namespace, from the downward API; the default namespace of kubernetes storage."
    Server CONSUL_HTTP_ADDR "Address of the Consul agent, where `storage \"consul\"` names none."
    Server CONSUL_HTTP_TOKEN "ACL token for Consul, where `storage \"consul\"` names none."
    Operator HOLDFAST_IMAGE "Image that clusters run unless they name their own."
    Operator HOLDFAST_PULL_POLICY "When that image is pulled: `Always`, `IfNotPresent` (default) or `Never`."
    Operator HOLDFAST_CLUSTER_DOMAIN "Domain of the cluster's DNS, by default `cluster.local`."
    Operator HOLDFAST_WATCH_NAMESPACE "The one namespace to watch; by default all of them."
    Operator HOLDFAST_PROBE_ADDRESS "Address of the listener for probes and metrics, by default 0.0.0.0:8202; `off`: none."
    Operator HOLDFAST_LOG_LEVEL "Log level of the operator."
    Operator HOLDFAST_LOG_FORMAT "Log format of the operator, `standard` or `json`."
    Operator KUBECONFIG "How to reach the API server from outside of the cluster."
    Operator KUBERNETES_SERVICE_HOST "Set in every pod: then the pod's service account is used."
    Client VAULT_ADDR "URL of the server, by default https://127.0.0.1:8200."
    Client VAULT_TOKEN "Token to send; wins over the one that `login` stored."
    Client VAULT_CACERT "File with the CA certificates that may sign the server's certificate."
    Client VAULT_CAPATH "Folder of such files; `VAULT_CACERT` wins."
    Client VAULT_SKIP_VERIFY "`true` accepts any certificate. Whoever is in between then sees every secret."
    Client VAULT_TLS_SERVER_NAME "Name to expect in the server's certificate instead of the host of the address."
    Client VAULT_NAMESPACE "Namespace of every request."
    Client VAULT_FORMAT "Output format, `table` or `json`."
    Client VAULT_CLIENT_TIMEOUT "Time for a request with all its retries, by default 60 s."
    Client VAULT_MAX_RETRIES "Retries after an answer of 5xx or no answer, by default 2."
    Client HOME "Where `.vault-token` lies."
    Client SSL_CERT_FILE "File with the system's CA certificates, where it is not at one of the usual places."
}

/// Where variables come from: the process, or a fixed set in tests.
#[derive(Debug, Clone, Default)]
pub struct Environment(Option<BTreeMap<String, String>>);

impl Environment {
    /// The environment of this process.
    pub fn process() -> Self {
        Self(None)
    }

    /// Only these variables.
    pub fn fixed<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(Some(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// The variable's value; `None` if it is unset, empty or not UTF-8.
    pub fn get(&self, variable: Variable) -> Option<String> {
        self.read(variable.name)
    }

    /// A variable that the configuration names itself (`env://NAME`).
    pub fn referenced(&self, name: &str) -> Option<SecretString> {
        self.read(name).map(SecretString::new)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn read(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(fixed) => fixed.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }
}

/// The list as a table in Markdown, for the documentation.
pub fn markdown() -> String {
    let mut out = String::from("| variable | read by | meaning |\n|---|---|---|\n");
    for variable in VARIABLES {
        let reader = match variable.reader {
            Reader::Server => "server",
            Reader::Operator => "operator",
            Reader::Client => "client",
        };
        out.push_str(&format!("| `{}` | {reader} | {} |\n", variable.name, variable.about));
    }
    out
}
