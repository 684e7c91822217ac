//! This test program once more, as a process of its own that can be killed, limited and shut in.

use std::path::Path;
use std::process::{Command, Stdio};

/// Tells the process which folder to use; without it, its test does nothing.
const FOLDER: &str = "HOLDFAST_TEST_FILE_FOLDER";

/// The folder that this process was given.
pub fn given_folder() -> Option<String> {
    std::env::var(FOLDER).ok()
}

/// The command that runs one ignored test of this program on `folder`.
pub fn command(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(arguments(test)).env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The same with a shell around it: `script` runs first and ends with `exec "$@"`.
pub fn in_shell(shell: &[&str], script: &str, test: &str, folder: &Path) -> Command {
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .arg(script)
        .arg("sh")
        .arg(std::env::current_exe().expect("this program"))
        .args(arguments(test));
    command.env(FOLDER, folder).stdin(Stdio::null());
    command
}

/// A shell whose mounts nobody else sees; `None` where that is not allowed.
pub fn private_shell() -> Option<Vec<&'static str>> {
    let as_root = vec!["unshare", "--mount", "sh", "-ec"];
    let as_user = vec!["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"];
    let found = [as_root, as_user].into_iter().find(|shell| {
        let tried = Command::new(shell[0])
            .args(&shell[1..])
            .arg("mount -t tmpfs -o size=64k holdfast /mnt")
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        println!("not tested: this user may not mount anything, not even privately");
    }
    found
}

/// A shell to which the modes of files apply, even if its user is root; `None` where root cannot give up that right.
pub fn bound_shell() -> Option<Vec<&'static str>> {
    if !rustix::process::geteuid().is_root() {
        return Some(vec!["sh", "-ec"]);
    }
    let shell = vec!["setpriv", "--bounding-set=-all", "--inh-caps=-all", "sh", "-ec"];
    let tried = Command::new(shell[0]).args(&shell[1..]).arg(":").stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(shell);
    }
    println!("not tested: this root may not give up its rights");
    None
}

fn arguments(test: &str) -> [&str; 4] {
    ["--exact", test, "--ignored", "--nocapture"]
}
