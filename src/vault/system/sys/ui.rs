//! `sys/internal/ui`: what clients ask before they can use a mount. Every `kv` command of the CLI starts here.

use serde_json::{Map, Value};

use super::{Answer, Call, mount_json};
use crate::vault::core::{MountClass, MountEntry};
use crate::vault::logical::{LogicalError, Operation, Response};

/// `rest` is what follows `sys/internal/`.
pub(super) async fn handle(call: &Call<'_>, rest: &str) -> Answer {
    let Some(rest) = rest.strip_prefix("ui/") else { return Err(LogicalError::UnsupportedPath) };
    let (first, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(first, "mounts" | "resultant-acl") || (first == "resultant-acl" && !path.is_empty()) {
        return Err(LogicalError::UnsupportedPath);
    }
    if call.operation != Operation::Read {
        return Err(LogicalError::UnsupportedOperation);
    }
    match (first, path) {
        ("resultant-acl", _) => resultant_acl(call).await,
        (_, "") => mounts(call).await,
        (_, path) => mount_of(call, path).await,
    }
}

/// The mounts that the caller may see; without a token those that are listed for everybody.
async fn mounts(call: &Call<'_>) -> Answer {
    let mut data = Map::new();
    for (member, class) in [("secret", MountClass::Secret), ("auth", MountClass::Auth)] {
        let mut shown = Map::new();
        for mount in call.kernel.mounts().of(class) {
            let Some(view) = view_of(call, mount).await? else { continue };
            shown.insert(mount.path.clone(), view.into());
        }
        data.insert(member.to_owned(), shown.into());
    }
    Ok(Some(Response::data(data)))
}

async fn view_of(call: &Call<'_>, mount: &MountEntry) -> Result<Option<Map<String, Value>>, LogicalError> {
    let full = mount_json::entry(mount);
    if let Some(caller) = call.kernel.caller()
        && call.kernel.has_access_below(caller, &mount.route()).await?
    {
        return Ok(Some(full));
    }
    if mount.config.listing_visibility != "unauth" {
        return Ok(None);
    }
    let public = ["type", "description", "options"];
    Ok(Some(full.into_iter().filter(|(name, _)| public.contains(&name.as_str())).collect()))
}

/// The mount that serves `path`. One that is absent and one that the caller may not see are not told apart.
async fn mount_of(call: &Call<'_>, path: &str) -> Answer {
    let Some(caller) = call.kernel.caller() else { return Err(LogicalError::Denied) };
    let Some((mount, _)) = call.kernel.route(path) else { return Err(LogicalError::Denied) };
    if !call.kernel.has_access_below(caller, &mount.route()).await? {
        return Err(LogicalError::Denied);
    }
    let mut data = mount_json::entry(mount);
    data.insert("path".to_owned(), Value::from(mount.route()));
    Ok(Some(Response::data(data)))
}

async fn resultant_acl(call: &Call<'_>) -> Answer {
    let Some(caller) = call.kernel.caller() else { return Err(LogicalError::Denied) };
    let mut data = Map::new();
    if caller.is_root() {
        data.insert("root".to_owned(), true.into());
        return Ok(Some(Response::data(data)));
    }
    let (exact, glob) = call.kernel.resultant_acl(caller).await?;
    let shown = |rules: Vec<(String, Vec<&'static str>)>| -> Map<String, Value> {
        let member = |granted: Vec<&'static str>| {
            let mut rule = Map::new();
            rule.insert("capabilities".to_owned(), Value::from(granted));
            Value::Object(rule)
        };
        rules.into_iter().map(|(path, granted)| (path, member(granted))).collect()
    };
    data.insert("root".to_owned(), false.into());
    data.insert("exact_paths".to_owned(), shown(exact).into());
    data.insert("glob_paths".to_owned(), shown(glob).into());
    Ok(Some(Response::data(data)))
}
