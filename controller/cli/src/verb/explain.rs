//! `gridrig explain CODE`: more than fits beside an error.

use clap::Args;
use scenario::verdict::Verdict;
use serde_json::json;

use crate::codes::{self, usage};
use crate::problem::{Outcome, Problem};
use crate::rig_file::nearest;
use crate::terminal::Terminal;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The code, such as R012; without one, all codes are listed.
    code: Option<String>,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let Some(asked) = arguments.code else {
        terminal.result(
            || {
                codes::all()
                    .map(|(code, text)| json!({"code": code, "text": text}))
                    .collect()
            },
            || {
                codes::all()
                    .map(|(code, text)| format!("{code}  {text}\n"))
                    .collect()
            },
        );
        return Ok(Verdict::Pass);
    };
    let found = codes::all().find(|(code, _)| code.eq_ignore_ascii_case(asked.trim()));
    let Some((code, text)) = found else {
        let near = nearest(&asked, codes::all().map(|(code, _)| code));
        let help = match near {
            Some(near) => format!("did you mean `{near}`? `gridrig explain` lists them all"),
            None => "`gridrig explain` lists them all".to_owned(),
        };
        let message = format!("there is no code `{asked}`");
        return Err(Problem::usage(usage("C008", message, &help)));
    };
    terminal.result(
        || json!({"code": code, "text": text}),
        || format!("{code}: {text}"),
    );
    Ok(Verdict::Pass)
}
