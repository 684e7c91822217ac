//! `sys/mounts` and `sys/auth`: list, show, enable and disable.

use serde_json::{Map, Value};

use super::{Answer, Call, mount_json, tune};
use crate::vault::core::{MountClass, MountSpec};
use crate::vault::logical::{Fields, LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

const KNOWN: &[&str] = &[
    "type",
    "description",
    "config",
    "options",
    "local",
    "seal_wrap",
    "external_entropy_access",
    "plugin_name",
    "plugin_version",
];

/// `path` is what follows `sys/mounts/` or `sys/auth/`.
pub(super) async fn handle(call: &Call<'_>, class: MountClass, path: &str) -> Answer {
    if path.is_empty() {
        return match call.operation {
            Operation::Read => Ok(Some(list(call, class))),
            _ => Err(LogicalError::UnsupportedOperation),
        };
    }
    // `sys/mounts/auth/<path>` is another name of `sys/auth/<path>`, which clients use for tuning.
    let (class, path) = match path.strip_prefix("auth/") {
        Some(inner) if class == MountClass::Secret => (MountClass::Auth, inner),
        _ => (class, path),
    };
    if let Some(mount) = path.strip_suffix("/tune") {
        return tune::handle(call, class, mount).await;
    }
    match call.operation {
        Operation::Read => show(call, class, path).map(Some),
        Operation::Create | Operation::Update => enable(call, class, path).await,
        Operation::Delete => {
            call.kernel.unmount(class, path).await?;
            Ok(None)
        }
        Operation::List | Operation::Patch => Err(LogicalError::UnsupportedOperation),
    }
}

fn list(call: &Call<'_>, class: MountClass) -> Response {
    let mounts = call.kernel.mounts().of(class);
    let data =
        mounts.into_iter().map(|mount| (mount.path.clone(), mount_json::entry(mount).into())).collect();
    Response { data_at_top: true, ..Response::data(data) }
}

fn show(call: &Call<'_>, class: MountClass, path: &str) -> Result<Response, LogicalError> {
    let slashed = format!("{}/", path.trim_matches('/'));
    match call.kernel.mounts().get(class, &slashed) {
        Some(mount) => Ok(Response { data_at_top: true, ..Response::data(mount_json::entry(mount)) }),
        None => Err(match class {
            MountClass::Secret => SystemError::NoSecretsMount(slashed),
            MountClass::Auth => SystemError::NoAuthMount(slashed),
        }
        .into()),
    }
}

async fn enable(call: &Call<'_>, class: MountClass, path: &str) -> Answer {
    let fields = call.fields;
    let kind = fields.required_text("type", &SystemError::MountType.to_string())?;
    let kind = match kind.as_str() {
        "plugin" => fields.required_text("plugin_name", &SystemError::PluginName.to_string())?,
        _ => kind,
    };
    refuse_plugin_version(fields)?;
    let mut options = fields.text_map("options")?.unwrap_or_default();
    let kind = match kind.as_str() {
        "kv-v1" | "generic" => {
            options.insert("version".to_owned(), "1".to_owned());
            "kv".to_owned()
        }
        "kv-v2" => {
            options.insert("version".to_owned(), "2".to_owned());
            "kv".to_owned()
        }
        _ => kind,
    };
    let empty = Map::new();
    let config = fields.object("config")?.unwrap_or(&empty);
    refuse_plugin_version(Fields::new(config))?;
    let spec = MountSpec {
        kind,
        description: fields.text("description")?.unwrap_or_default(),
        options,
        local: fields.boolean("local")?.unwrap_or(false),
        seal_wrap: fields.boolean("seal_wrap")?.unwrap_or(false),
        config: tune::Change::read(Fields::new(config), class)?.applied_to(Default::default())?,
    };
    call.kernel.mount(class, path, spec).await?;
    Ok(fields.unrecognized(KNOWN).map(|warning| Response::default().with_warning(warning)))
}

fn refuse_plugin_version(fields: Fields<'_>) -> Result<(), LogicalError> {
    match fields.raw("plugin_version") {
        Some(Value::String(version)) if !version.is_empty() => {
            Err(SystemError::PluginVersion(version.clone()).into())
        }
        _ => Ok(()),
    }
}
