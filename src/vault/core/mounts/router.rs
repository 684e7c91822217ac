//! The router: the mount table with its engines.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::table::{MountClass, MountEntry, MountTable};
use crate::vault::core::engines::{EngineTable, KernelEngine, KernelTable};
use crate::vault::logical::{Engine, LogicalError};

/// What serves a mount.
pub(in crate::vault::core) enum Dispatch {
    /// An ordinary engine.
    Engine(Arc<dyn Engine>),
    /// A part of the kernel.
    Kernel(Arc<dyn KernelEngine>),
    /// A place that is reserved for an engine which this version does not have yet.
    Reserved,
    /// This program has no such engine, or it refuses the mount's options.
    Missing(String),
}

/// A mount with its engine.
pub struct Mounted {
    /// The mount.
    pub entry: MountEntry,
    pub(in crate::vault::core) dispatch: Dispatch,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// The mount table with its engines.
#[derive(Debug)]
pub struct Router {
    /// The table that it was made from.
    pub table: MountTable,
    routes: BTreeMap<String, Arc<Mounted>>,
}

/// Makes the engine of a mount.
pub(in crate::vault::core) fn engine_for(
    entry: &MountEntry,
    kernel: &KernelTable,
    engines: &EngineTable,
    auth_methods: &EngineTable,
) -> Result<Dispatch, LogicalError> {
    if let Some(engine) = kernel.get(entry.kind.as_str()) {
        return Ok(Dispatch::Kernel(Arc::clone(engine)));
    }
    let table = match entry.class {
        MountClass::Secret => engines,
        MountClass::Auth => auth_methods,
    };
    match table.get(entry.kind.as_str()) {
        Some(make) => Ok(Dispatch::Engine(make(&entry.options)?)),
        None if entry.kind == "identity" => Ok(Dispatch::Reserved),
        None => Err(LogicalError::Invalid(format!("plugin not found in the catalog: {}", entry.kind))),
    }
}

impl Router {
    /// Makes the engines of all mounts.
    pub(in crate::vault::core) fn new(
        table: MountTable,
        kernel: &KernelTable,
        engines: &EngineTable,
        auth_methods: &EngineTable,
    ) -> Self {
        let routes = table
            .entries
            .iter()
            .map(|entry| {
                let dispatch = engine_for(entry, kernel, engines, auth_methods)
                    .unwrap_or_else(|error| Dispatch::Missing(error.to_string()));
                (entry.route(), Arc::new(Mounted { entry: entry.clone(), dispatch }))
            })
            .collect();
        Self { table, routes }
    }

    /// The mount that serves `path` (longest prefix), and the path inside it.
    pub fn route<'p>(&self, path: &'p str) -> Option<(&Arc<Mounted>, &'p str)> {
        if let Some(mounted) = self.routes.get(&format!("{path}/")) {
            return Some((mounted, ""));
        }
        let ends = path.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at + 1);
        ends.into_iter().find_map(|end| Some((self.routes.get(&path[..end])?, &path[end..])))
    }
}
