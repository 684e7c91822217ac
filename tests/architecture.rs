//! The house rules as code: which module may import which, what only one place may do, sizes, names, dead files.
//!
//! Everything is judged on the source text without tests, comments and strings.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the house and their rows: a module imports only from rows above it (lower numbers).
const ROWS: &[(u8, &[&str])] = &[
    (0, &["base"]),
    (1, &["crypto", "api", "config", "k8s", "crd", "vault::logical"]),
    (2, &["telemetry", "vault::secrets", "vault::auth", "vault::physical"]),
    (
        3,
        &[
            "operator",
            "vault::barrier",
            "vault::seal",
            "vault::core",
            "vault::system",
            "vault::ha",
            "vault::http",
            "vault::node",
        ],
    ),
    (4, &["cli"]),
];

/// Within row 3: the second may import the first, and what the first may import.
const ARROWS: &[(&str, &str)] = &[
    ("vault::barrier", "vault::seal"),
    ("vault::seal", "vault::core"),
    ("vault::core", "vault::system"),
    ("vault::core", "vault::ha"),
    ("vault::system", "vault::http"),
    ("vault::ha", "vault::http"),
    ("vault::http", "vault::node"),
];

/// What only some places may say: words in a row (`::` between them is left out), where they may stand, and why.
const RESERVED: &[(&[&str], &[&str], &str)] = &[
    (&["axum"], &["vault::http", "telemetry"], "only vault::http and telemetry know axum"),
    (&["env", "var"], &["config", "cli"], "only config and cli read the environment"),
    (&["env", "vars"], &["config", "cli"], "only config and cli read the environment"),
    (&["env", "var_os"], &["config", "cli"], "only config and cli read the environment"),
    (&["env", "vars_os"], &["config", "cli"], "only config and cli read the environment"),
    (&["env", "args"], &["config", "cli"], "only config and cli read the arguments"),
    (&["env", "args_os"], &["config", "cli"], "only config and cli read the arguments"),
    (&["tokio", "spawn"], &["base::task"], "tasks are started by base::task"),
    (&["tokio", "task", "spawn"], &["base::task"], "tasks are started by base::task"),
    (&["spawn_blocking"], &["base::task"], "tasks are started by base::task"),
    (&["spawn_local"], &["base::task"], "tasks are started by base::task"),
    (&["JoinSet"], &["base::task"], "tasks are started by base::task"),
    (&["thread", "spawn"], &["base::task"], "tasks are started by base::task"),
    (&["SystemTime", "now"], &["base::clock"], "time comes from base::clock"),
    (&["Instant", "now"], &["base::clock"], "time comes from base::clock"),
    (&["Timestamp", "now"], &["base::clock"], "time comes from base::clock"),
    (&["Zoned", "now"], &["base::clock"], "time comes from base::clock"),
    (&["UnixTime", "now"], &["base::clock"], "time comes from base::clock"),
    (&["clock_gettime"], &["base::clock"], "time comes from base::clock"),
    (&[".", "unwrap", "(", ")"], &[], "errors are handled"),
    (&["todo", "!"], &[], "what is there works"),
    (&["unimplemented", "!"], &[], "what is there works"),
    (&["dbg", "!"], &[], "what is there is finished"),
    (&["panic", "!"], &[], "errors are returned"),
    (&["println", "!"], &["cli::output"], "only cli::output prints"),
    (&["print", "!"], &["cli::output"], "only cli::output prints"),
    (&["eprintln", "!"], &["cli::output"], "only cli::output prints"),
    (&["eprint", "!"], &["cli::output"], "only cli::output prints"),
    (&["unsafe"], &[], "there is no unsafe code"),
    (&["super", "super"], &[], "name the module from crate:: instead"),
];

/// Names that say nothing about what a module holds.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "shared", "stuff"];

/// Above this many lines without tests a file is printed; above the second the test fails.
const LINES_SHOWN: usize = 400;
const LINES_MOST: usize = 600;

/// A source file of the crate.
struct Source {
    path: PathBuf,
    /// The module path, such as `vault::ha::machine`.
    module: String,
    text: String,
    /// Tokens of the code without tests.
    tokens: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts.join("::")
}

/// Replaces comments, strings and characters by spaces; lines stay where they are.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    while at < chars.len() {
        let rest = &chars[at..];
        let length = comment(rest).or_else(|| raw_string(rest)).or_else(|| quoted(rest));
        let length = length.filter(|_| {
            !(rest[0] == 'r' || rest[0] == 'b') || !out.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        });
        match length {
            Some(length) => {
                out.extend(rest[..length.min(rest.len())].iter().map(|c| blank(*c)));
                at += length;
            }
            None => {
                out.push(rest[0]);
                at += 1;
            }
        }
    }
    out
}

fn comment(rest: &[char]) -> Option<usize> {
    if rest.starts_with(&['/', '/']) {
        return Some(rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let skip = usize::from(rest[0] == 'b');
    if rest.get(skip) != Some(&'r') {
        return None;
    }
    let hashes = rest[skip + 1..].iter().take_while(|c| **c == '#').count();
    if rest.get(skip + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let start = skip + 2 + hashes;
    let length = rest[start..].windows(end.len()).position(|window| window == end)?;
    Some(start + length + end.len())
}

fn quoted(rest: &[char]) -> Option<usize> {
    let skip = usize::from(rest[0] == 'b');
    let quote = *rest.get(skip)?;
    if quote != '"' && quote != '\'' {
        return None;
    }
    // A lifetime is no character: 'a without a quote behind it.
    if quote == '\'' && rest.get(skip + 1) != Some(&'\\') && rest.get(skip + 2) != Some(&'\'') {
        return None;
    }
    let mut at = skip + 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

/// Words and single signs, `::` as one.
fn tokens(code: &str) -> Vec<String> {
    let chars: Vec<char> = code.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        if chars[at].is_alphanumeric() || chars[at] == '_' {
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
        } else if chars[at..].starts_with(&[':', ':']) {
            at += 2;
        } else {
            at += 1;
        }
        let token: String = chars[start..at].iter().collect();
        if !token.trim().is_empty() {
            out.push(token);
        }
    }
    out
}

fn starts(tokens: &[String], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token == word)
}

/// Leaves out items under `#[cfg(test)]`, and returns the names of the modules among them.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !starts(&tokens[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += 7;
        at += item(&tokens[at..], &mut modules);
    }
    (kept, modules)
}

/// How many tokens the item at the front has; notes it if it is a module.
fn item(tokens: &[String], modules: &mut Vec<String>) -> usize {
    const KEYWORDS: &[&str] =
        &["mod", "use", "fn", "impl", "struct", "enum", "trait", "const", "static", "type", "async"];
    let mut depth = 0usize;
    let mut keyword = false;
    for (at, token) in tokens.iter().enumerate() {
        keyword |= depth == 0 && KEYWORDS.contains(&token.as_str());
        match token.as_str() {
            "mod" if depth == 0 => modules.push(tokens[at + 1].clone()),
            "{" | "(" | "[" => depth += 1,
            // A field or arm without a comma behind it: what encloses it ends.
            "}" | ")" | "]" if depth == 0 => return at,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let ends = token == ";" || (token == "}" && keyword) || (token == "," && !keyword);
        if depth == 0 && ends {
            return at + 1;
        }
    }
    tokens.len()
}

/// All sources that are compiled without tests.
fn sources() -> &'static [Source] {
    static ALL: std::sync::OnceLock<Vec<Source>> = std::sync::OnceLock::new();
    ALL.get_or_init(read_sources)
}

fn read_sources() -> Vec<Source> {
    let mut test_modules = BTreeSet::new();
    let mut all = Vec::new();
    for path in files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let module = module_of(&path);
        let (tokens, tests) = without_tests(&tokens(&code_only(&text)));
        test_modules.extend(tests.into_iter().map(|name| joined(&module, &name)));
        all.push(Source { path, module, text, tokens });
    }
    all.retain(|source| !test_modules.iter().any(|test| within(&source.module, test)));
    all
}

fn joined(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// Whether `module` is `ancestor` or lies in it.
fn within(module: &str, ancestor: &str) -> bool {
    module.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module of the house that `path` lies in, with its row.
fn house_module(path: &str) -> Option<(u8, &'static str)> {
    ROWS.iter()
        .flat_map(|(row, names)| names.iter().map(|name| (*row, *name)))
        .find(|(_, name)| within(path, name))
}

/// All paths into the crate that the tokens name, absolute.
fn paths(module: &str, tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if tokens.get(at + 1).is_none_or(|next| next != "::") {
            continue;
        }
        let base = match token.as_str() {
            "crate" => String::new(),
            "super" => module.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned()),
            _ => continue,
        };
        tree(&base, &tokens[at + 2..], &mut found);
    }
    found
}

/// Reads what follows a `::`, which may be a tree in braces; returns how many tokens it took.
fn tree(base: &str, tokens: &[String], found: &mut Vec<String>) -> usize {
    let Some(first) = tokens.first() else { return 0 };
    if !first.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '{') {
        // Type arguments or a glob.
        found.push(base.to_owned());
        return 1;
    }
    if first == "{" {
        let mut at = 1;
        while at < tokens.len() && tokens[at] != "}" {
            at += if tokens[at] == "," { 1 } else { tree(base, &tokens[at..], found).max(1) };
        }
        return at + 1;
    }
    let path = if first == "self" { base.to_owned() } else { joined(base, first) };
    if tokens.get(1).is_some_and(|next| next == "::") {
        return 2 + tree(&path, &tokens[2..], found);
    }
    found.push(path);
    // `as name` belongs to it.
    if tokens.get(1).is_some_and(|next| next == "as") { 3 } else { 1 }
}

/// Whether the arrows allow `from` to import `to`.
fn arrow(from: &str, to: &str) -> bool {
    ARROWS.iter().any(|(lower, upper)| *upper == from && (*lower == to || arrow(lower, to)))
}

/// Why `from` may not import `to`, if so.
fn objection(from: &str, to: &str) -> Option<String> {
    let ((from_row, from), (to_row, to)) = (house_module(from)?, house_module(to)?);
    if from == to {
        return None;
    }
    let strangers =
        (from == "operator" && within(to, "vault")) || (within(from, "vault") && to == "operator");
    if strangers || (to_row >= from_row && !(to_row == from_row && arrow(from, to))) {
        return Some(format!("{from} (row {from_row}) imports {to} (row {to_row})"));
    }
    None
}

/// Fails with all findings, one a line.
fn judge(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn modules_import_only_from_rows_above() {
    let mut findings = BTreeSet::new();
    for source in sources() {
        for path in paths(&source.module, &source.tokens) {
            if let Some(objection) = objection(&source.module, &path) {
                findings.insert(format!("{}: {objection}", shown(&source.path)));
            }
        }
    }
    judge("imports against the table", findings.into_iter().collect());
}

#[test]
fn imports_make_no_circle() {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources() {
        let Some((_, from)) = house_module(&source.module) else { continue };
        for path in paths(&source.module, &source.tokens) {
            if let Some((_, to)) = house_module(&path).filter(|(_, to)| *to != from) {
                edges.entry(from).or_default().insert(to);
            }
        }
    }
    assert!(edges.len() > 5, "the edges were not found: {edges:?}");
    // Takes away what imports nothing that is left, until nothing more can go.
    while let Some(leaf) =
        edges.iter().find(|(_, to)| to.iter().all(|to| !edges.contains_key(to))).map(|(from, _)| *from)
    {
        edges.remove(leaf);
    }
    assert!(edges.is_empty(), "these modules import each other in a circle: {edges:?}");
}

#[test]
fn every_file_belongs_to_a_row() {
    let free = |module: &str| module.is_empty() || module == "vault";
    let strays = sources().iter().filter(|s| !free(&s.module) && house_module(&s.module).is_none());
    judge("files outside the table", strays.map(|source| shown(&source.path)).collect());
}

#[test]
fn what_is_reserved_stays_where_it_belongs() {
    let mut findings = Vec::new();
    for source in sources() {
        findings.extend(
            reserved(&source.module, &source.tokens)
                .into_iter()
                .map(|f| format!("{}: {f}", shown(&source.path))),
        );
        let excused = source.text.contains("clippy::expect_used");
        let called = source.tokens.windows(3).any(|window| starts(window, &[".", "expect", "("]));
        if called && !excused {
            findings.push(format!(
                "{}: .expect( without #[expect(clippy::expect_used, reason)]",
                shown(&source.path)
            ));
        }
    }
    judge("said in the wrong place", findings);
}

/// What the tokens of `module` say that is reserved for another place.
fn reserved(module: &str, tokens: &[String]) -> Vec<String> {
    let words: Vec<String> = tokens.iter().filter(|token| *token != "::").cloned().collect();
    let mut findings = Vec::new();
    for (said, allowed, reason) in RESERVED {
        let here = allowed.iter().any(|place| within(module, place));
        if !here && (0..words.len()).any(|at| starts(&words[at..], said)) {
            findings.push(format!("`{}`: {reason}", said.join(" ")));
        }
    }
    findings
}

#[test]
fn files_begin_with_what_they_are() {
    let folders = ["src", "tests", "examples", "benches"].map(|name| root().join(name));
    let all = folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| files(folder));
    let silent = all.filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "));
    judge("files without a `//!` line at the top", silent.map(|path| shown(&path)).collect());
}

#[test]
fn files_stay_small() {
    let mut findings = Vec::new();
    for source in sources() {
        let text = code_only(&source.text);
        let tests =
            text.find("#[cfg(test)]\nmod ").filter(|at| text[*at..].contains('{')).unwrap_or(text.len());
        let lines = text[..tests].lines().count();
        if lines > LINES_SHOWN {
            println!("{}: {lines} lines", shown(&source.path));
        }
        if lines > LINES_MOST {
            findings.push(format!("{}: {lines} lines, at most {LINES_MOST}", shown(&source.path)));
        }
    }
    judge("files that are too long", findings);
}

#[test]
fn names_say_what_is_inside() {
    let mut findings = Vec::new();
    for path in files(&root().join("src")) {
        let module = module_of(&path);
        if let Some(name) = module.split("::").find(|part| EMPTY_NAMES.contains(part)) {
            findings.push(format!("{}: {name}", shown(&path)));
        }
    }
    judge("names that say nothing", findings);
}

#[test]
fn no_file_is_dead() {
    let all = files(&root().join("src"));
    let mut declared: BTreeSet<String> = BTreeSet::from([String::new()]);
    for path in &all {
        let tokens = tokens(&code_only(&fs::read_to_string(path).unwrap()));
        for window in tokens.windows(3).filter(|window| window[0] == "mod" && window[2] == ";") {
            declared.insert(joined(&module_of(path), &window[1]));
        }
    }
    let dead = all.iter().filter(|path| {
        let module = module_of(path);
        let mut prefix = module.as_str();
        // Every step from the top down to the file must be declared.
        loop {
            if !declared.contains(prefix) {
                return true;
            }
            match prefix.rsplit_once("::") {
                Some((parent, _)) => prefix = parent,
                None => return false,
            }
        }
    });
    judge("files that nothing declares", dead.map(|path| shown(path)).collect());
}

#[test]
fn the_checks_can_fail() {
    let read = |text: &str| without_tests(&tokens(&code_only(text))).0;
    let imports = read(
        "use crate::{base::id, vault::{node::{self, Node as N}, http}};\nfn f() { super::auth::x::<u8>() }",
    );
    let found = paths("vault::secrets", &imports);
    assert_eq!(found, ["base::id", "vault::node", "vault::node::Node", "vault::http", "vault::auth::x"]);
    let objections: Vec<_> = found.iter().filter_map(|path| objection("vault::secrets::kv", path)).collect();
    assert_eq!(objections.len(), 4, "{objections:?}");

    for (from, to, allowed) in [
        ("vault::http::error", "vault::barrier", true),
        ("vault::system", "vault::ha", false),
        ("vault::ha", "vault::system", false),
        ("vault::barrier", "vault::core", false),
        ("operator::plan", "vault::physical", false),
        ("vault::node", "operator", false),
        ("crd", "k8s", false),
        ("operator", "crd", true),
        ("cli", "vault::node", true),
        ("base", "api", false),
    ] {
        assert_eq!(objection(from, to).is_none(), allowed, "{from} -> {to}");
    }

    let said = |text: &str| reserved("vault::core", &read(text)).len();
    assert_eq!(
        said("fn f() { x.unwrap(); std::env::var(\"A\"); tokio::spawn(y); Instant::now(); todo!() }"),
        5
    );
    assert_eq!(
        said(
            "// x.unwrap()\n/* todo!() */ const A: &str = \"panic!\"; const B: &str = r#\"\"dbg!\"#; const C: char = '\"';"
        ),
        0
    );
    assert_eq!(
        said("#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }\nfn g<'a>(x: &'a str) { y.unwrap_or(1) }"),
        0
    );
    assert_eq!(said("fn g<'a>(x: &'a str) { y.unwrap() }"), 1);
    assert_eq!(said("struct A { #[cfg(test)] x: B<u8>, y: u8 } fn f() { y.unwrap() }"), 1);
}
