//! Where a secret is, by the version of its engine.

use crate::api::MountInfo;
use crate::cli::args::KvPath;
use crate::cli::connect::Session;
use crate::cli::failure::Failure;

/// The place of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// The mount, with a slash at the end; empty if it is not known.
    mount: String,
    /// The path behind it.
    rest: String,
    /// Whether the engine keeps versions.
    pub(super) versioned: bool,
}

impl Located {
    /// Asks the server which mount the path belongs to.
    pub(super) async fn find(session: &Session, at: &KvPath) -> Result<Self, Failure> {
        let name = at.path.trim_start_matches('/');
        let asked = at.mount.as_deref().unwrap_or(name).trim_matches('/');
        match session.client.mount_of(asked).await {
            Ok(info) => Ok(Self::within(&info, at.mount.is_some(), name)),
            // A server that does not know the endpoint has no versions either.
            Err(error) if error.status() == Some(404) && at.mount.is_none() => {
                Ok(Self { mount: String::new(), rest: name.to_owned(), versioned: false })
            }
            Err(error) => Err(Failure::call("finding the mount", &error)),
        }
    }

    /// The place of `name`, which is relative to the mount or begins with its path.
    pub(super) fn within(info: &MountInfo, relative: bool, name: &str) -> Self {
        let mount = format!("{}/", info.path.trim_matches('/'));
        let whole = format!("{}/", name.trim_end_matches('/'));
        let rest = match name.strip_prefix(&mount) {
            Some(rest) if !relative => rest,
            None if !relative && whole == mount => "",
            _ => name,
        };
        Self { rest: rest.to_owned(), versioned: info.is_kv_version_2(), mount }
    }

    /// The path to call; `part` is put behind the mount if the engine keeps versions.
    pub(super) fn path(&self, part: &str) -> String {
        let path = if self.versioned {
            format!("{}{part}/{}", self.mount, self.rest)
        } else {
            format!("{}{}", self.mount, self.rest)
        };
        path.trim_end_matches('/').to_owned()
    }
}
