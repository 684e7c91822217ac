//! Vault's single-dash long flags: `-address=…` means `--address=…`.

/// The arguments with every long flag written with two dashes.
///
/// `-` alone, one-letter flags (`-h`, `-f`) and everything behind `--` stay as they are.
pub(super) fn doubled(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut literal = false;
    arguments
        .into_iter()
        .map(|argument| {
            literal |= argument == "--";
            let name = argument.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            let long = name.is_some_and(|name| {
                let word = name.split('=').next().unwrap_or_default();
                word.len() > 1 && word.starts_with(|c: char| c.is_ascii_alphabetic())
            });
            if long && !literal { format!("-{argument}") } else { argument }
        })
        .collect()
}
