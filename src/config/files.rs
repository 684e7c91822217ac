//! From files to texts.

use std::fs;
use std::path::{Path, PathBuf};

use super::hcl::{self, MAX_TEXT_BYTES};
use super::parse::{self, Source};
use super::{Environment, Problem, Problems, ServerConfig};

/// Reads files, or folders with `*.hcl` and `*.json` files in the order of their names; later ones win.
///
/// # Errors
/// All problems at once.
pub fn load(paths: &[PathBuf], environment: &Environment) -> Result<ServerConfig, Problems> {
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match read(path) {
            Ok(found) => texts.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let sources: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    parse(&sources, environment)
}

/// Reads texts, each with the name that messages call it by; later ones win.
///
/// # Errors
/// All problems at once.
pub fn parse(sources: &[(&str, &str)], environment: &Environment) -> Result<ServerConfig, Problems> {
    let mut parsed = Vec::new();
    let mut problems = Vec::new();
    for (file, text) in sources {
        match hcl::parse(text) {
            Ok(body) => parsed.push(Source { file: (*file).to_owned(), body }),
            Err(error) => problems.push(Problem::Syntax { file: (*file).to_owned(), error }),
        }
    }
    if problems.is_empty() { parse::server(&parsed, environment) } else { Err(Problems(problems)) }
}

fn read(path: &Path) -> Result<Vec<(String, String)>, Problem> {
    let unreadable =
        |path: &Path, reason: String| Problem::Unreadable { path: path.display().to_string(), reason };
    let metadata = fs::metadata(path).map_err(|e| unreadable(path, e.to_string()))?;
    let files = if metadata.is_dir() { files_in(path)? } else { vec![path.to_owned()] };
    let mut texts = Vec::new();
    for file in files {
        let size = fs::metadata(&file).map_err(|e| unreadable(&file, e.to_string()))?.len();
        if size > MAX_TEXT_BYTES as u64 {
            return Err(unreadable(&file, format!("it is longer than {MAX_TEXT_BYTES} bytes")));
        }
        let text = fs::read_to_string(&file).map_err(|e| unreadable(&file, e.to_string()))?;
        texts.push((file.display().to_string(), text));
    }
    Ok(texts)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable =
        |e: std::io::Error| Problem::Unreadable { path: folder.display().to_string(), reason: e.to_string() };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_configuration =
            path.extension().is_some_and(|extension| extension == "hcl" || extension == "json");
        if is_configuration && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Problem::NoFiles { path: folder.display().to_string() });
    }
    files.sort();
    Ok(files)
}
