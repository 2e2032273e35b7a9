//! `gridrig init`: the keys and tokens of a bench, once.

use std::path::PathBuf;

use clap::Args;
use model::Clock as _;
use runtime::clock::SystemClock;
use runtime::web::authority::{CA_FILE, CA_KEY_FILE, TOKENS_FILE, init, names_of_this_machine};
use scenario::verdict::Verdict;
use serde_json::json;

use crate::problem::Outcome;
use crate::terminal::Terminal;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder. What is there already stays as it is; what is missing is made.
    #[arg(default_value = "keys")]
    folder: PathBuf,
    /// One more name or address under which the page is reached; those of this machine are known.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// A participant that orders from outside: a new tokens file has a token that may order for it
    /// alone. May be repeated.
    #[arg(long = "bidder", value_name = "PARTICIPANT")]
    bidders: Vec<String>,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let folder = arguments.folder;
    let mut names = arguments.names;
    for name in names_of_this_machine() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let pieces = init(
        &folder,
        &names,
        &arguments.bidders,
        SystemClock::start().utc(),
    )?;
    let host = names.first().map_or("127.0.0.1", String::as_str);
    let path = |name: &str| folder.join(name).display().to_string();
    let run = format!(
        "gridrig run RIG --listen 0.0.0.0:7070 --tls {} --tokens {}",
        folder.display(),
        path(TOKENS_FILE)
    );
    terminal.result(
        || {
            let files = pieces.iter().map(|piece| {
                json!({ "path": piece.path.display().to_string(), "made": piece.is_new })
            });
            json!({
                "files": files.collect::<Vec<_>>(),
                "names": names,
                "next": run,
            })
        },
        || {
            let lines = pieces.iter().map(|piece| {
                let word = if piece.is_new { "made" } else { "kept" };
                format!("{word}  {}\n", piece.path.display())
            });
            format!(
                "{}\nA certificate that is made is for {}.\n\
                 Next:\n  1. Start the bench: {run}\n  \
                 2. Give {} to whoever shall see it: to a browser as an authority, to callers as `--ca`.\n  \
                 3. Give each person or screen a token out of {}: observe, bid, operate or arm.\n  \
                 4. Move {} to where only you can reach it; the next certificate needs it.\n  \
                 5. Look: gridrig top --api https://{host}:7070 --ca {} --token-file FILE",
                lines.collect::<String>(),
                names.join(", "),
                path(CA_FILE),
                path(TOKENS_FILE),
                path(CA_KEY_FILE),
                path(CA_FILE),
            )
        },
    );
    Ok(Verdict::Pass)
}
