//! The sentences in a source: what a person may read, found so that no test can forget one.

use std::fs;
use std::path::Path;

/// Around a string, these show that it goes to the log or names something inside of the program.
const NOT_SAID: &[&str] = &[
    "debug",
    "info",
    "warn",
    "error_event",
    "trace",
    "event",
    "info_span",
    "spawn",
    "guard",
    "debug_struct",
];

/// A literal of several words, with `{…}` where values are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sentence {
    text: String,
    place: String,
}

/// The sentences in the sources below `folders` (from `src/`) that none of `heard` says. `silent` lists those that no
/// caller hears, each with the reason; one that is not in the source any more is reported too.
pub(crate) fn untried(folders: &[&str], heard: &[String], silent: &[(&str, &str)]) -> Vec<String> {
    let mut all = Vec::new();
    for folder in folders {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
        assert!(root.exists(), "{folder} is gone");
        collect(&root, &mut all);
    }
    let is_silent = |sentence: &Sentence| silent.iter().any(|(text, _)| *text == sentence.text);
    let is_heard = |sentence: &Sentence| heard.iter().any(|text| says(text, &sentence.text));
    let untried = all.iter().filter(|sentence| !is_silent(sentence) && !is_heard(sentence));
    let mut out: Vec<String> = untried.map(|s| format!("no case: {:?} in {}", s.text, s.place)).collect();
    let is_gone = |text: &str| !all.iter().any(|sentence| sentence.text == text);
    out.extend(silent.iter().filter(|(text, _)| is_gone(text)).map(|(text, _)| format!("gone: {text:?}")));
    out
}

fn collect(path: &Path, out: &mut Vec<Sentence>) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if ["tests", "tests.rs", "testing", "testing.rs"].contains(&name.as_str()) {
        return;
    }
    if path.is_dir() {
        let mut inside: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        inside.sort();
        inside.iter().for_each(|path| collect(path, out));
    } else if name.ends_with(".rs") {
        let source = fs::read_to_string(path).unwrap();
        let texts = sentences(&source).into_iter();
        out.extend(texts.map(|text| Sentence { text, place: path.display().to_string() }));
    }
}

/// Whether `text` holds everything that is fixed in `pattern`, in its order.
pub(crate) fn says(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    fixed(pattern).iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The parts of a format string between its values.
fn fixed(pattern: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if depth == 0 && chars.peek() == Some(&c) => {
                chars.next();
                parts.last_mut().unwrap().push(c);
            }
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                parts.push(String::new());
            }
            c if depth == 0 => parts.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    parts
}

/// Two words at least, beside the values.
fn is_sentence(text: &str) -> bool {
    let fixed = fixed(text).join("\u{1}");
    let is_word = |word: &&str| word.chars().filter(|c| c.is_alphabetic()).count() > 1;
    fixed.split([' ', '\u{1}']).filter(is_word).count() > 1 && fixed.contains(' ')
}

/// The sentences of a source, without comments, logs, attributes other than `error`, and what only tests have.
fn sentences(source: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut reader = Reader { rest: source, word: String::new(), around: Vec::new() };
    reader.read(&mut out);
    out
}

struct Reader<'a> {
    rest: &'a str,
    /// The word just before.
    word: String,
    /// The word before each bracket that is open.
    around: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, out: &mut Vec<String>) {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("#[cfg(test)]") {
                self.skip("#[cfg(test)]".len());
                self.skip_item();
            } else if self.rest.starts_with("#[") || self.rest.starts_with("#![") {
                let mut inside = Vec::new();
                let is_error = self.rest.starts_with("#[error(");
                self.group(&mut inside);
                if is_error {
                    // Also a text of one word is one that somebody reads; forwarded ones have none of their own.
                    out.extend(
                        inside.into_iter().filter(|text| fixed(text).iter().any(|part| part.len() > 3)),
                    );
                }
            } else if self.is_char() {
            } else if let Some(text) = self.string() {
                if is_sentence(&text) && !self.is_unsaid() {
                    out.push(text);
                }
            } else {
                self.step(c);
            }
        }
    }

    /// Whether what is read next goes to the log or names something inside.
    fn is_unsaid(&self) -> bool {
        self.around.last().is_some_and(|word| NOT_SAID.contains(&word.as_str()))
    }

    /// Takes one character of code.
    fn step(&mut self, c: char) {
        match c {
            '(' | '[' | '{' => self.around.push(std::mem::take(&mut self.word)),
            ')' | ']' | '}' => drop(self.around.pop()),
            c if c.is_alphanumeric() || c == '_' => {
                let end =
                    self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
                self.word = self.rest[..end].to_owned();
                return self.skip(end);
            }
            '!' if self.word == "error" => self.word = "error_event".to_owned(),
            '!' | ' ' | '\n' => {}
            _ => self.word.clear(),
        }
        self.skip(c.len_utf8());
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    /// Reads a bracketed group, and the strings in it whatever they are.
    fn group(&mut self, out: &mut Vec<String>) {
        let start = self.around.len();
        let mut has_begun = false;
        while let Some(c) = self.rest.chars().next() {
            if self.is_char() {
                continue;
            }
            match self.string() {
                Some(text) => out.push(text),
                None => self.step(c),
            }
            has_begun |= self.around.len() > start;
            if has_begun && self.around.len() == start {
                return;
            }
        }
    }

    /// Skips an item: to its `;` or `,`, or over its braces.
    fn skip_item(&mut self) {
        let start = self.around.len();
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
                continue;
            }
            if self.is_char() || self.string().is_some() {
                continue;
            }
            self.step(c);
            let is_out = self.around.len() == start;
            if is_out && matches!(c, ';' | ',' | '}') || self.around.len() < start {
                return;
            }
        }
    }

    /// Takes a character literal; false (and nothing) for a lifetime.
    fn is_char(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('\'') else { return false };
        let end = match inside.strip_prefix('\\') {
            Some(escape) => {
                escape.find('\'').map(|at| at + 2).filter(|_| !escape.starts_with('\'')).or(Some(3))
            }
            None => inside
                .chars()
                .next()
                .map(char::len_utf8)
                .filter(|at| inside[*at..].starts_with('\''))
                .map(|at| at + 1),
        };
        // A lifetime: its quote is stepped over as any other sign.
        let Some(end) = end else { return false };
        self.skip(1 + end);
        true
    }

    /// Takes a string literal, raw ones included.
    fn string(&mut self) -> Option<String> {
        if let Some(text) = super::literal(self.rest) {
            let mut end = 1;
            let bytes = self.rest.as_bytes();
            while bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            self.skip(end + 1);
            return Some(text);
        }
        let raw = self
            .rest
            .strip_prefix('r')
            .filter(|_| self.rest.starts_with("r\"") || self.rest.starts_with("r#"))?;
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let end = inside.find(&close)?;
        let text = inside[..end].to_owned();
        self.skip(1 + hashes + 1 + end + close.len());
        Some(text)
    }
}

#[test]
fn what_people_read_is_told_from_what_they_do_not() {
    let source = r##"
        //! "a comment that says"
        #[error("one {0}")] A, #[error("{0}")] B, #[doc = "two words"] C<'a>,
        fn f() -> &'static str {
            warn!(error = %e, "to the log {x}");
            task::spawn("a task of its own", async { refuse("it is {what:?} and \
                no more") });
            let c = ['"', '\'', '}'];
            tracing::error!("also to the log"); key("one"); b"raw"; format!("{a}: not {{b}} but {c}");
            let raw = r#"raw "text" here"#;
        }
        #[cfg(test)] mod tests { fn g() { "in a test" } }
        #[cfg(test)] fn h() {} fn i() { "after that" }
    "##;
    let found = [
        "one {0}",
        "it is {what:?} and no more",
        "{a}: not {{b}} but {c}",
        "raw \"text\" here",
        "after that",
    ];
    assert_eq!(sentences(source), found);
    assert!(says("failed: x: not {b} but y, sorry", "{a}: not {{b}} but {c}"));
    assert!(!says("but y: not {b}", "{a}: not {{b}} but {c}"));
}
