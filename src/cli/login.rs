//! `login`: checks a token and stores it.

use super::args::LoginArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::{Report, cell, table};
use super::{prompt, token_file};
use crate::api::client::Call;
use crate::api::paths;

/// Runs the command.
pub(super) async fn run(session: &Session, args: LoginArgs) -> Result<Report, Failure> {
    if args.method != "token" {
        return Err(Failure::local(format!(
            "auth method {:?} is not known here: use token, or write to auth/{}/login",
            args.method, args.method
        )));
    }
    let given = args.token.map(|token| token.strip_prefix("token=").map(str::to_owned).unwrap_or(token));
    let token = prompt::secret(given, "Token")?;
    let client = session.client_with_token(token.clone())?;
    let found = client.logical(Call::get(paths::LOOKUP_SELF)).await;
    let envelope = found.map_err(|e| Failure::call("authenticating", &e))?.unwrap_or_default();
    let data = envelope.data.clone().unwrap_or_default();
    let mut said = String::new();
    if !args.no_store {
        let file = session.token_file.as_deref();
        let file =
            file.ok_or_else(|| Failure::local("HOME is not set: there is no place to store the token"))?;
        token_file::write(file, &token)?;
        said = format!("Success! The token is stored in {}; further commands use it.\n\n", file.display());
    }
    if args.token_only {
        return Ok(Report { ends_line: false, ..Report::text(token.expose()) });
    }
    let of = |key: &str| data.get(key).map_or_else(|| "n/a".to_owned(), cell);
    let duration = of("ttl");
    let rows = [
        ("token".to_owned(), token.expose().to_owned()),
        ("token_accessor".to_owned(), of("accessor")),
        ("token_duration".to_owned(), if duration == "0" { "∞".to_owned() } else { format!("{duration}s") }),
        ("token_renewable".to_owned(), data.get("renewable").map_or_else(|| "false".to_owned(), cell)),
        ("token_policies".to_owned(), of("policies")),
    ];
    Report::shown(session.format, &envelope, || format!("{said}{}", table(&rows)))
}
