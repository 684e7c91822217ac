//! `~/.vault-token`, where `login` keeps the token: readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::failure::Failure;
use crate::base::secret::SecretString;

/// The stored token, if there is one.
pub(super) fn read(path: &Path) -> Option<SecretString> {
    let token = SecretString::new(fs::read_to_string(path).ok()?.trim().to_owned());
    (!token.is_empty()).then_some(token)
}

/// Stores the token with mode 0600, by a rename so that no reader ever sees half of it.
pub(super) fn write(path: &Path, token: &SecretString) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::local(format!("the token cannot be stored in {}: {e}", path.display()));
    let partial = path.with_extension("tmp");
    // A file left by somebody else keeps its mode when it is opened: begin with none.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.write_all(token.expose().as_bytes()).map_err(failed)?;
    drop(file);
    fs::rename(&partial, path).map_err(failed)
}
