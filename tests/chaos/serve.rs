//! A node that this program runs itself, as a process of its own: the whole server, with a wall clock that can be stepped
//! or with a storage that is wrong.
//!
//!     chaos serve CONFIGURATION

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use holdfast::base::clock::{Clock, Moment, SystemClock, UnixMillis};
use holdfast::config::{self, Environment};
use holdfast::telemetry::logging;
use holdfast::vault::node::{self, BackendTable, Surroundings};

use crate::wrong;

/// How often the file of the step is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The system's clocks, the wall clock so many milliseconds off.
struct Stepped(Arc<AtomicI64>);

impl Clock for Stepped {
    fn now(&self) -> Moment {
        SystemClock.now()
    }

    fn unix(&self) -> UnixMillis {
        UnixMillis(SystemClock.unix().0.saturating_add_signed(self.0.load(Ordering::SeqCst)))
    }
}

/// The file that says how far the wall clock of the node of this configuration is off, in milliseconds.
pub fn step_file(config: &Path) -> std::path::PathBuf {
    config.with_extension("clock")
}

/// Runs the node until it is asked to end.
pub fn serve(config_file: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let environment = Environment::process();
    let config = config::load(&[config_file.to_owned()], &environment).expect("a configuration");
    logging::start(config.log).expect("a log");
    let offset = Arc::new(AtomicI64::new(0));
    let around = Surroundings { clock: Arc::new(Stepped(Arc::clone(&offset))), ..Surroundings::system() };
    let file = step_file(config_file);
    std::thread::spawn(move || {
        loop {
            let read = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            offset.store(read.unwrap_or(0), Ordering::SeqCst);
            std::thread::sleep(LOOK);
        }
    });
    let backends = BackendTable::default().with(wrong::KIND, Arc::new(wrong::Factory));
    let ran = runtime.block_on(node::run_in(&config, &environment, &backends, around));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
