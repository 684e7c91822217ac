//! What the command line says.

use std::path::PathBuf;

use crate::plan::Kind;

pub const USAGE: &str = "usage: chaos [--backend TYPE] [--lock TYPE] [--minutes N] [--seed N] [--only KIND,KIND] [--program FILE]
       chaos --wrong yes [--backend TYPE] [--seed N]
       chaos --addresses URL,URL --token-file FILE [--pids N,N] [--restart COMMAND] [--ca-file FILE] [--minutes N] [--seed N] [--only KIND,KIND]";

/// The command line.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `kubernetes`, `etcd`, `consul`, `zookeeper` or `postgresql`.
    pub backend: String,
    /// What the lock is taken from, if it is not the storage itself.
    pub lock: Option<String>,
    pub minutes: f64,
    pub seed: u64,
    pub only: Vec<Kind>,
    /// The server's program; the one that was built with this one if there is none.
    pub program: Option<PathBuf>,
    /// Whether wrong variants shall be caught, instead of a run of the product.
    pub is_wrong: bool,
    /// Servers that run already.
    pub pointed: Option<Pointed>,
}

/// Servers that somebody else started.
#[derive(Debug, Clone, Default)]
pub struct Pointed {
    /// Their URLs.
    pub addresses: Vec<String>,
    /// Their processes, in the same order; none: no fault of processes.
    pub pids: Vec<i32>,
    /// A token that may do everything.
    pub token_file: PathBuf,
    /// The CA of their certificates, for URLs with https.
    pub ca_file: Option<PathBuf>,
    /// Starts the server of a number again that was killed: run by `sh -c`, the number is `$1`; prints its new process id.
    pub restart: Option<String>,
}

impl Settings {
    /// What is tested, as a name.
    pub fn title(&self) -> String {
        let lock = self.lock.as_ref().map(|lock| format!("-{lock}-lock"));
        self.backend.clone() + &lock.unwrap_or_default()
    }

    /// Reads it.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let any = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| u64::from(time.subsec_nanos()));
        let mut settings = Self {
            backend: "kubernetes".to_owned(),
            lock: None,
            minutes: 1.0,
            seed: any(),
            only: Vec::new(),
            program: None,
            is_wrong: false,
            pointed: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            let wrong = |error: &dyn std::fmt::Display| format!("{name} {value}: {error}");
            let listed = || value.split(',').map(str::trim);
            let pointed = &mut settings.pointed;
            match name.as_str() {
                "--backend" => settings.backend = value,
                "--lock" => settings.lock = Some(value).filter(|lock| *lock != settings.backend),
                "--minutes" => settings.minutes = value.parse().map_err(|error| wrong(&error))?,
                "--seed" => settings.seed = value.parse().map_err(|error| wrong(&error))?,
                "--program" => settings.program = Some(value.into()),
                "--wrong" => settings.is_wrong = value == "yes",
                "--only" => {
                    let kinds = listed().map(|kind| Kind::parse(kind).ok_or_else(|| wrong(&kind)));
                    settings.only = kinds.collect::<Result<_, _>>()?;
                }
                "--addresses" => {
                    pointed.get_or_insert_default().addresses = listed().map(str::to_owned).collect();
                }
                "--pids" => {
                    let pids = listed().map(|pid| pid.parse().map_err(|error| wrong(&error)));
                    pointed.get_or_insert_default().pids = pids.collect::<Result<_, _>>()?;
                }
                "--token-file" => pointed.get_or_insert_default().token_file = value.into(),
                "--ca-file" => pointed.get_or_insert_default().ca_file = Some(value.into()),
                "--restart" => pointed.get_or_insert_default().restart = Some(value),
                _ => return Err(format!("{name} is not known")),
            }
        }
        let Some(pointed) = &settings.pointed else { return Ok(settings) };
        if pointed.addresses.is_empty() || pointed.token_file.as_os_str().is_empty() {
            return Err("servers that run already need --addresses and --token-file".to_owned());
        }
        if !pointed.pids.is_empty() && pointed.pids.len() != pointed.addresses.len() {
            return Err("--pids names another number of servers than --addresses".to_owned());
        }
        Ok(settings)
    }
}
