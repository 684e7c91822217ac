//! `crd`: the definitions of the custom resources.

use std::fs;

use super::args::CrdArgs;
use super::failure::Failure;
use super::output::Report;
use crate::crd::emit::{self, EmitError};

/// Runs the command.
pub(super) fn run(args: &CrdArgs) -> Result<Report, Failure> {
    let failed = |error: EmitError| Failure::local(error.to_string());
    let mut texts = Vec::new();
    for definition in emit::definitions().map_err(failed)? {
        texts.push((definition.file.clone(), definition.yaml().map_err(failed)?));
    }
    let Some(folder) = &args.directory else {
        let documents: Vec<_> = texts.iter().map(|(_, text)| text.trim_end()).collect();
        return Ok(Report::text(documents.join("\n---\n")));
    };
    let mut said = Vec::new();
    for (file, text) in texts {
        let path = folder.join(file);
        let text = format!("{}\n", text.trim_end());
        fs::write(&path, text).map_err(|e| Failure::local(format!("{}: {e}", path.display())))?;
        said.push(format!("wrote {}", path.display()));
    }
    Ok(Report::text(said.join("\n")))
}
