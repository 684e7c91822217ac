//! The list of traps in `docs/storage/traps.md` names tests and laws that there are.

use std::path::Path;

use holdfast::vault::physical::conformance::{report_lock, report_storage};

use crate::table::Memory;

/// What stands between these marks, line by line.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split(close).next())
}

#[tokio::test]
async fn every_trap_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(root.join("docs/storage/traps.md")).expect("the list");
    let mut laws = report_storage("", &Memory).await.laws;
    laws.extend(report_lock("", &Memory).await.laws);
    let is_law = |words: &str| laws.iter().any(|judged| judged.law.replace('_', " ") == words);
    let mut module = String::new();
    let mut count = 0;
    let rows = list.lines().take_while(|line| !line.starts_with("## Not run"));
    for row in rows.filter(|line| line.starts_with("| ") && *line != "| trap | test |") {
        let tests = row.split(" | ").nth(1).unwrap_or_default();
        let mut named = 0;
        for name in between(tests, "`", "`").step_by(2) {
            let (before, test) =
                name.rsplit_once("::").unwrap_or_else(|| panic!("no path of a test: {name}"));
            if before != "\u{2026}" {
                before.clone_into(&mut module);
            }
            let (file, head) = match module.strip_suffix("::tests") {
                Some(unit) if unit.starts_with("vault::") => {
                    (root.join("src").join(unit.replace("::", "/")), "fn")
                }
                _ => (root.join("tests/storage").join(module.replace("::", "/")), "async fn"),
            };
            let text = std::fs::read_to_string(file.with_extension("rs")).unwrap_or_default();
            assert!(text.contains(&format!("{head} {test}(")), "there is no test {module}::{test}");
            named += 1;
        }
        named +=
            between(tests, "*", "*").step_by(2).inspect(|law| assert!(is_law(law), "no law: {law}")).count();
        assert!(named > 0, "no test: {row}");
        count += 1;
    }
    assert!(count > 30, "{count} traps");
}
