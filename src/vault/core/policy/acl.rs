//! The decision: what a set of policies grants on a path. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::{Capability, Grant, Parameters, Policy};
use crate::vault::logical::Operation;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The operation.
    pub operation: Operation,
    /// The whole path; lists end in `/`.
    pub path: &'a str,
    /// Input.
    pub data: &'a Map<String, Value>,
    /// Wrapping TTL in seconds, if the answer is to be wrapped.
    pub wrap_ttl_seconds: Option<u64>,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Whether the operation is allowed.
    pub allowed: bool,
    /// Whether the `root` policy applies.
    pub is_root: bool,
    /// Whether `sudo` is granted on the path.
    pub has_sudo: bool,
}

/// Paths of rules, each with the names of its capabilities.
pub type ShownRules = Vec<(String, Vec<&'static str>)>;

/// The rules of several policies together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acl {
    root: bool,
    exact: BTreeMap<String, Grant>,
    /// Rules that end in `*` and have no `+`, without the `*`.
    prefix: BTreeMap<String, Grant>,
    /// Rules with `+` segments, as written.
    segments: BTreeMap<String, Grant>,
}

/// The order in which rules that match the same path win: greater wins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Priority<'a> {
    first_wildcard: usize,
    is_exact_end: bool,
    fewer_segments: std::cmp::Reverse<usize>,
    length: usize,
    text: &'a str,
}

impl Acl {
    /// The rules of `policies` together.
    pub fn new(policies: &[Arc<Policy>]) -> Self {
        let mut acl = Self::default();
        for rule in policies.iter().flat_map(|policy| &policy.rules) {
            // Templates speak of identities; what cannot be filled in grants nothing.
            if rule.path.contains("{{") {
                continue;
            }
            let (map, key) = if rule.path.split('/').any(|segment| segment == "+") {
                (&mut acl.segments, rule.path.as_str())
            } else if let Some(prefix) = rule.path.strip_suffix('*') {
                (&mut acl.prefix, prefix)
            } else {
                (&mut acl.exact, rule.path.as_str())
            };
            match map.get_mut(key) {
                Some(grant) => grant.merge(&rule.grant),
                None => {
                    map.insert(key.to_owned(), rule.grant.clone());
                }
            }
        }
        acl
    }

    /// The `root` policy: everything.
    pub fn root() -> Self {
        Self { root: true, ..Self::default() }
    }

    /// Its rules with the names of their capabilities: exact paths, then globs as they are written.
    pub fn rules(&self) -> (ShownRules, ShownRules) {
        let shown = |rules: &BTreeMap<String, Grant>, suffix: &str| -> ShownRules {
            rules
                .iter()
                .map(|(path, grant)| (format!("{path}{suffix}"), grant.capabilities.names()))
                .collect()
        };
        let mut globs = shown(&self.prefix, "*");
        globs.extend(shown(&self.segments, ""));
        (shown(&self.exact, ""), globs)
    }

    /// Decides.
    pub fn decide(&self, ask: Ask<'_>) -> Verdict {
        if self.root {
            return Verdict { allowed: true, is_root: true, has_sudo: true };
        }
        let Some(grant) = self.grant(ask.path, ask.operation == Operation::List) else {
            return Verdict::default();
        };
        let allowed = grant.capabilities.has(Capability::for_operation(ask.operation))
            && wrapping_fits(grant, ask.wrap_ttl_seconds)
            && parameters_fit(grant, ask.operation, ask.data);
        Verdict { allowed, is_root: false, has_sudo: grant.capabilities.has(Capability::Sudo) }
    }

    /// Names of the capabilities on `path`.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.root {
            return vec!["root"];
        }
        match self.grant(path, true).map(|grant| grant.capabilities) {
            Some(capabilities) if capabilities.grants() => capabilities.names(),
            Some(_) | None => vec!["deny"],
        }
    }

    /// Whether anything is granted at or below `prefix`.
    pub fn has_access_below(&self, prefix: &str) -> bool {
        let grants = |grant: &Grant| grant.capabilities.grants();
        self.root
            || self
                .exact
                .range(prefix.to_owned()..)
                .take_while(|(path, _)| path.starts_with(prefix))
                .any(|(_, g)| grants(g))
            || self
                .prefix
                .iter()
                .any(|(path, g)| grants(g) && (path.starts_with(prefix) || prefix.starts_with(path)))
            || self.segments.iter().any(|(pattern, g)| grants(g) && pattern_reaches(pattern, prefix))
    }

    /// The one rule that decides on `path`.
    fn grant(&self, path: &str, is_list: bool) -> Option<&Grant> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let trimmed = if is_list { path.strip_suffix('/') } else { None };
        if let Some(grant) = self.exact.get(path).or_else(|| self.exact.get(trimmed?)) {
            return Some(grant);
        }
        // A list is also judged by its name without the slash, so that it cannot slip past a `+` rule.
        let (best, _) = self
            .candidates(path)
            .into_iter()
            .chain(trimmed.map(|path| self.candidates(path)).unwrap_or_default())
            .max_by(|(_, a), (_, b)| a.cmp(b))?;
        Some(best)
    }

    fn candidates<'s>(&'s self, path: &str) -> Vec<(&'s Grant, Priority<'s>)> {
        let mut found = Vec::new();
        // The longest prefix: the nearest smaller keys are tried in descending order, a common prefix at a time.
        let mut bound = path.to_owned();
        while let Some((prefix, grant)) = self.prefix.range(..=bound.clone()).next_back() {
            if path.starts_with(prefix.as_str()) {
                found.push((
                    grant,
                    Priority {
                        first_wildcard: prefix.len(),
                        is_exact_end: false,
                        fewer_segments: std::cmp::Reverse(0),
                        length: prefix.len() + 1,
                        text: prefix,
                    },
                ));
                break;
            }
            let common = prefix
                .char_indices()
                .zip(path.chars())
                .find(|((_, a), b)| a != b)
                .map_or(0, |((at, _), _)| at);
            if common == 0 && !self.prefix.contains_key("") {
                break;
            }
            bound = prefix[..common].to_owned();
        }
        for (pattern, grant) in &self.segments {
            if matches(pattern, path) {
                let first_wildcard = pattern.find(['+', '*']).unwrap_or(pattern.len());
                found.push((
                    grant,
                    Priority {
                        first_wildcard,
                        is_exact_end: !pattern.ends_with('*'),
                        fewer_segments: std::cmp::Reverse(pattern.split('/').filter(|s| *s == "+").count()),
                        length: pattern.len(),
                        text: pattern,
                    },
                ));
            }
        }
        found
    }
}

/// Whether a pattern with `+` segments, perhaps ending in `*`, matches the whole path.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |pattern| (pattern, true));
    let wanted: Vec<&str> = pattern.split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    if given.len() < wanted.len() || (!is_prefix && given.len() != wanted.len()) {
        return false;
    }
    let last = wanted.len() - 1;
    wanted.iter().zip(&given).enumerate().all(|(at, (wanted, given))| {
        *wanted == "+" || wanted == given || (is_prefix && at == last && given.starts_with(wanted))
    })
}

/// Whether a pattern can match anything at or below `prefix`.
fn pattern_reaches(pattern: &str, prefix: &str) -> bool {
    let (pattern, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |pattern| (pattern, true));
    let wanted: Vec<&str> = pattern.split('/').collect();
    let given: Vec<&str> = prefix.trim_end_matches('/').split('/').collect();
    if wanted.len() <= given.len() && !is_prefix {
        return false;
    }
    let last = wanted.len() - 1;
    wanted.iter().zip(&given).enumerate().all(|(at, (wanted, given))| {
        *wanted == "+" || wanted == given || (is_prefix && at == last && given.starts_with(wanted))
    })
}

fn wrapping_fits(grant: &Grant, ttl: Option<u64>) -> bool {
    let (min, max) = (grant.min_wrapping_ttl_seconds, grant.max_wrapping_ttl_seconds);
    match ttl {
        Some(ttl) => ttl >= min && (max == 0 || ttl <= max),
        None => min == 0 && max == 0,
    }
}

fn parameters_fit(grant: &Grant, operation: Operation, data: &Map<String, Value>) -> bool {
    if matches!(operation, Operation::Delete | Operation::List) {
        return true;
    }
    let given: BTreeMap<String, &Value> =
        data.iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    if !grant.required.iter().all(|name| given.contains_key(name)) {
        return false;
    }
    if given.is_empty() {
        return true;
    }
    let denied = grant.denied.as_ref().is_some_and(|denied| {
        denied.contains_key("*") || given.iter().any(|(name, value)| names_value(denied, name, value))
    });
    let allowed = grant.allowed.as_ref().filter(|allowed| !allowed.is_empty()).is_none_or(|allowed| {
        let others = allowed.contains_key("*");
        given.iter().all(|(name, value)| match allowed.get(name) {
            Some(_) => names_value(allowed, name, value),
            None => others,
        })
    });
    !denied && allowed
}

/// Whether `value` is among the values listed for `name`; an empty list stands for every value.
fn names_value(parameters: &Parameters, name: &str, value: &Value) -> bool {
    parameters
        .get(name)
        .is_some_and(|listed| listed.is_empty() || listed.iter().any(|pattern| value_matches(pattern, value)))
}

fn value_matches(pattern: &Value, value: &Value) -> bool {
    let (Value::String(pattern), Value::String(text)) = (pattern, value) else { return pattern == value };
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) if pattern.len() == 1 => true,
        (Some(_), Some(_)) => text.contains(&pattern[1..pattern.len() - 1]),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}
