//! The paths of the engine.

/// A path inside the mount; the text is the key's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Config,
    Data(&'a str),
    Delete(&'a str),
    Undelete(&'a str),
    Destroy(&'a str),
    Metadata(&'a str),
    Subkeys(&'a str),
    /// Not a path of the engine: mostly one of a client that believes that the mount is version 1.
    Invalid,
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        if path == "config" {
            return Self::Config;
        }
        let Some((first, key)) = path.split_once('/') else { return Self::Invalid };
        if first == "metadata" {
            return Self::Metadata(key);
        }
        if key.is_empty() || key.ends_with('/') {
            return Self::Invalid;
        }
        match first {
            "data" => Self::Data(key),
            "delete" => Self::Delete(key),
            "undelete" => Self::Undelete(key),
            "destroy" => Self::Destroy(key),
            "subkeys" => Self::Subkeys(key),
            _ => Self::Invalid,
        }
    }

    /// The fields that the path knows.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Config => &["max_versions", "cas_required", "delete_version_after"],
            Self::Data(_) => &["version", "options", "data"],
            Self::Delete(_) | Self::Undelete(_) | Self::Destroy(_) => &["versions"],
            Self::Metadata(_) => {
                &["max_versions", "cas_required", "delete_version_after", "custom_metadata", "after", "limit"]
            }
            Self::Subkeys(_) => &["version", "depth"],
            Self::Invalid => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        for (path, route) in [
            ("config", Route::Config),
            ("data/a/b", Route::Data("a/b")),
            ("data/http://x", Route::Data("http://x")),
            ("delete/a", Route::Delete("a")),
            ("undelete/a", Route::Undelete("a")),
            ("destroy/a", Route::Destroy("a")),
            ("subkeys/a", Route::Subkeys("a")),
            ("metadata/", Route::Metadata("")),
            ("metadata/a/", Route::Metadata("a/")),
            ("metadata", Route::Invalid),
            ("data", Route::Invalid),
            ("data/", Route::Invalid),
            ("data/a/", Route::Invalid),
            ("a", Route::Invalid),
            ("a/b", Route::Invalid),
            ("", Route::Invalid),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
