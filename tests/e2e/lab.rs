//! The lab as the scenarios use it: `tests/lab/lab` and the kubectl and helm that it brings.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A lab that is up. The test runs inside the control plane's network, so pods and Services are reached directly.
#[derive(Clone, Debug)]
pub struct Lab {
    script: PathBuf,
    /// The image reference that the nodes hold.
    pub image: String,
    /// The project's folder.
    pub root: PathBuf,
}

impl Lab {
    /// The lab named by `LAB`, its script found in the project's folder.
    pub fn from_environment() -> Result<Self, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let script = root.join("tests/lab/lab");
        if !script.is_file() {
            return Err(format!("{} is missing", script.display()));
        }
        let image = format!("holdfast.dev/holdfast:{}", env!("CARGO_PKG_VERSION"));
        let lab = Self { script, image, root };
        lab.kubectl(&["get", "--raw", "/readyz"])
            .map_err(|why| format!("the lab is not up ({why}): make lab-up"))?;
        Ok(lab)
    }

    /// Runs a verb of the lab.
    pub fn verb(&self, args: &[&str]) -> Result<String, String> {
        text(Command::new(&self.script).args(args), args)
    }

    pub fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        text(Command::new(&self.script).arg("kubectl").args(args), args)
    }

    pub fn helm(&self, args: &[&str]) -> Result<String, String> {
        text(Command::new(&self.script).arg("helm").args(args), args)
    }

    /// `kubectl … -o json`, parsed.
    pub fn json(&self, args: &[&str]) -> Result<Value, String> {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        serde_json::from_str(&self.kubectl(&all)?).map_err(|e| e.to_string())
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, manifest: &str) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        std::fs::write(file.path(), manifest).map_err(|e| e.to_string())?;
        self.kubectl(&["apply", "-f", &file.path().to_string_lossy()])
    }

    /// Prints what a person would look at first after a failure.
    pub fn show_state(&self) {
        let views: [&[&str]; 5] = [
            &["get", "nodes,pods,lease,vaultclusters", "-A", "-o", "wide"],
            &[
                "get",
                "vaultclusters",
                "-A",
                "-o",
                "jsonpath={range .items[*].status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}",
            ],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["logs", "-n", "holdfast-system", "-l", "app.kubernetes.io/name=holdfast", "--tail=40"],
            &["logs", "-n", "default", "-l", "holdfast.dev/cluster", "--tail=25", "--prefix"],
        ];
        for view in views {
            self.show(view);
        }
    }

    /// Prints the newest lines that a kubectl command prints.
    pub fn show(&self, view: &[&str]) {
        match self.kubectl(view) {
            Ok(out) => {
                let lines: Vec<&str> = out.lines().collect();
                let from = lines.len().saturating_sub(90);
                println!("    $ kubectl {}", view.join(" "));
                for line in &lines[from..] {
                    println!("    | {}", line.chars().take(400).collect::<String>());
                }
            }
            Err(why) => println!("    $ kubectl {}: {why}", view.join(" ")),
        }
    }
}

fn text(command: &mut Command, args: &[&str]) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|e| e.to_string())?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!(
        "{} ended with {status}: {}{}",
        args.join(" "),
        String::from_utf8_lossy(&stderr).trim(),
        String::from_utf8_lossy(&stdout).trim()
    ))
}
