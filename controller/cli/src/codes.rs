//! Codes of the command line itself, and where the explanations of all others are.

use document::Diagnostic;

/// The codes that this crate gives, and those of the ledger, which are words.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "C001",
        "A word on the command line cannot be read. Times have a unit (`30s`, `5min`), addresses a port (`127.0.0.1:7070`), parts of a test run the form `1/4`.",
    ),
    (
        "C002",
        "Virtual time has no end of its own: it would run through days in minutes until somebody stopped it. Say for how long with `--for`.",
    ),
    (
        "C003",
        "A file that was named on the command line cannot be read or written. The message says what the system said.",
    ),
    (
        "C004",
        "The folder is not the run folder of gridrig, or what is asked for was never written there. A run folder holds result.json, journal and ledger/.",
    ),
    (
        "C005",
        "The rig has no device of this name, or the device has no such point. `gridrig device ls RIG` shows both.",
    ),
    (
        "C006",
        "Writing to a device moves power. It needs `--arm` on the command line, every time.",
    ),
    (
        "C007",
        "No scenario was selected. The exit code 7 keeps a pipeline from taking an empty selection for a success.",
    ),
    (
        "C008",
        "gridrig does not know the code that it was asked to explain.",
    ),
    (
        "C009",
        "A selection is made of words, `and`, `or`, `not` and parentheses: `ffr and not slow`. A word selects every scenario whose name contains it; put it in quotes when it has spaces.",
    ),
    (
        "C010",
        "The journal or the ledger of a run cannot be read to its end, so nothing can be said about what comes after the place that is named.",
    ),
    (
        "C011",
        "A device did not answer in time. Check its supply, its cable and its address; the notices of its bus, told beside this code, say what was seen.",
    ),
    (
        "C012",
        "The limiter refused the setpoint. Nothing was written. The limits stand in the rig; some of them depend on what was measured a moment ago.",
    ),
    (
        "C013",
        "The setpoint was written, but the device did not prove it by its own register or topic. Nothing may be assumed about what it does now.",
    ),
    (
        "C014",
        "The record of a setpoint did not become durable in time, so the setpoint was not sent: what is not in the ledger does not leave.",
    ),
    (
        "C015",
        "The ledger of a run does not say what it should. The line that failed names the place; a run whose ledger does not verify is no evidence.",
    ),
    (
        "C016",
        "Every control cycle, clearing and settlement of a run is recomputed from its journal and ledger. The first difference is told. Either the files were changed, or another version of gridrig wrote them.",
    ),
    (
        "C020",
        "A scan looks only at what it is told to look at: it never searches a network or opens a port by itself.",
    ),
    (
        "C021",
        "Nothing answered that a bundled profile fits. A device at another unit or speed, a battery that waits for its inverter, and a plug that speaks only when asked are not found; `gridrig device read` with a rig of your own reaches them.",
    ),
    (
        "C022",
        "The ledger does not hold what a proof was asked of: no atom or several are named so, an atom that it depends on is missing, or no log ever had the head that was kept. The last of these ends with exit code 6: history is not what somebody has noted down.",
    ),
    (
        "C023",
        "Runs can be put together only where they are all the parts of one: made by `gridrig test … --shard I/N` of the same version, with the same rig, far end, speed and seed, each part once.",
    ),
    (
        "C024",
        "The rig names no telemetry server, so there is none to set up: values are in the run folder, in `samples.csv.zst` and `samples.db`.",
    ),
    (
        "C025",
        "The telemetry server could not be set up: it does not answer, refused a step, or has no buckets. What was done before that step stays; asked again, the same is done once.",
    ),
    (
        "C026",
        "The run has not ended: a process still holds its folder. Its record counts as that of an interrupted run until it is replaced at the end. When its process was killed nobody holds it any more, and the record says how far it had come.",
    ),
    (
        "C027",
        "A layout of reports is a TOML file with a title, sections (each with a heading and the tags of the scenarios that stand in it), columns of its tables, lines to fill in and to sign. Three come along: dispatch-transition, hil-commissioning and der-conformance.",
    ),
    (
        "C028",
        "A file of budgets says by how much values may differ from those of an earlier run: `within = \"5%\"` for all, and `[[budget]]` with scenario and check (parts of their names), `within` as a share, `by` as an amount with a unit, and `worse = \"up\"` or `\"down\"` where only one way counts.",
    ),
    (
        "C029",
        "Another run has the bench: it holds a lock for each bus of the hardware until its process ends. Wait for it, with `gridrig test --wait 10min` if you like. Locks stand in the folder for temporary files, so all who use a bench from one machine must have the same one.",
    ),
    (
        "C035",
        "Whoever answers at an `https://` address is asked for a certificate, and it must have been signed by the authority in `--ca`, be valid now, and be for the name in the address. `gridrig init` makes authority and certificate of a bench; its `ca.pem` is for everybody, its `ca.key` for nobody. Only `gridrig safe` is said to whoever answers, since it tells no secret.",
    ),
    (
        "C037",
        "A token that is sent by `http://` to another machine can be read by everybody on the way, who may then do what it allows. Use `https://` with `--ca`, or a tunnel to the bench's own machine.",
    ),
    (
        "C046",
        "The file ends in `.tst` but is no test of the SunSpec System Validation Platform: those are XML and begin with `<scriptConfig name=\"…\" script=\"…\">`.",
    ),
    (
        "C047",
        "A parameter of a test of the SunSpec System Validation Platform cannot be taken over: it has no name or one that is there twice, is no number although its type says so, or is a list of another length than it says.",
    ),
    (
        "C048",
        "The file says that it has a schema which this gridrig does not know: a later one wrote it. Nothing is changed.",
    ),
    (
        "E000",
        "gridrig has made a mistake: a program error, not yours. The bench goes to its safe end. Please report the message together with the command that you gave.",
    ),
    (
        "ledger-disk-full",
        "No space or no quota is left for the ledger. Nothing is dispatched without it. Make room, or give another folder with `--out`.",
    ),
    (
        "ledger-device-error",
        "The disk failed to read or write the ledger. Replace it.",
    ),
    (
        "ledger-file-too-large",
        "The ledger would grow beyond the file size that this process may write. Raise the limit (`ulimit -f`).",
    ),
    (
        "ledger-not-permitted",
        "The process may not read or write the ledger. Mend the permissions of the run folder.",
    ),
    (
        "ledger-locked",
        "Another process writes this ledger. One run has one writer.",
    ),
    (
        "ledger-missing",
        "There is no ledger in this folder, or a part of it is gone.",
    ),
    (
        "ledger-exists",
        "There is a ledger already where a new one should begin. Give another folder with `--out`.",
    ),
    (
        "ledger-storage",
        "The system refused to read or write the ledger. The message says what it said.",
    ),
    (
        "ledger-corrupt",
        "The files of the ledger are not what a node wrote: bytes were changed or are missing. `gridrig ledger verify` names the first place.",
    ),
    (
        "ledger-universe",
        "The genesis configuration (ledger/universe.json) is not a valid one.",
    ),
    (
        "ledger-epoch",
        "A later configuration beside the log (ledger/epoch-00000001.cbor and so on) may not follow the one before. Take the file of another node of the universe.",
    ),
    (
        "ledger-key",
        "A key does not belong to the universe of this ledger.",
    ),
    ("ledger-sign", "A head of the ledger could not be signed."),
];

/// Everything that can be explained: the tables of all rooms, in the order of the codes' letters.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        EXPLANATIONS,
        ledger_net::EXPLANATIONS,
        market::fault::CODES,
        profile::EXPLANATIONS,
        runtime::rig::EXPLANATIONS,
        network::read::EXPLANATIONS,
        der_model::settings::EXPLANATIONS,
        services::definition::EXPLANATIONS,
        scenario::codes::EXPLANATIONS,
        scenario::bench::EXPLANATIONS,
        scenario::bench::COURSE_EXPLANATIONS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// A fault of the command line, which the operator mends.
pub fn usage(code: &'static str, message: impl Into<String>, help: &str) -> Diagnostic {
    Diagnostic::error(code, document::Actor::Operator, message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_explained_once_in_a_sentence() {
        let mut known = BTreeSet::new();
        for (code, text) in all() {
            assert!(known.insert(code), "{code} stands in two tables");
            assert!(text.ends_with('.'), "{code}: {text}");
        }
        assert!(known.len() > 100, "{}", known.len());
    }

    #[test]
    fn every_code_that_this_crate_gives_is_explained() {
        let sources = [
            include_str!("budget.rs"),
            include_str!("daemon.rs"),
            include_str!("folder.rs"),
            include_str!("rig_file.rs"),
            include_str!("selection.rs"),
            include_str!("verb/arming.rs"),
            include_str!("verb/bench.rs"),
            include_str!("verb/check.rs"),
            include_str!("verb/der.rs"),
            include_str!("verb/device.rs"),
            include_str!("verb/device/record.rs"),
            include_str!("verb/device/watch.rs"),
            include_str!("verb/explain.rs"),
            include_str!("verb/ledger.rs"),
            include_str!("verb/ledger/proof.rs"),
            include_str!("verb/live.rs"),
            include_str!("verb/man.rs"),
            include_str!("verb/market.rs"),
            include_str!("verb/migrate.rs"),
            include_str!("verb/plant.rs"),
            include_str!("verb/report.rs"),
            include_str!("verb/replay.rs"),
            include_str!("verb/report/svp.rs"),
            include_str!("verb/scan.rs"),
            include_str!("verb/scan/target.rs"),
            include_str!("verb/service.rs"),
            include_str!("verb/sim.rs"),
            include_str!("verb/telemetry.rs"),
            include_str!("verb/test.rs"),
            include_str!("verb/top.rs"),
            include_str!("verb/top/asker.rs"),
            include_str!("verb/top/look.rs"),
        ];
        let known: BTreeSet<&str> = all().map(|(code, _)| code).collect();
        let given = sources
            .iter()
            .flat_map(|source| source.split('"'))
            .filter(|w| {
                w.len() == 4
                    && w.starts_with(|c: char| c.is_ascii_uppercase())
                    && w[1..].chars().all(|c| c.is_ascii_digit())
            });
        for code in given {
            assert!(known.contains(code), "{code}");
        }
    }
}
