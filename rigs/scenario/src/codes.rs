//! Codes of the faults that a scenario can have, each with a longer explanation.

macro_rules! codes {
    ($($name:ident = $code:literal, $explanation:literal;)+) => {
        $(
            #[doc = $explanation]
            pub(crate) const $name: &str = $code;
        )+

        /// All codes in ascending order, each with what it means and how to mend it.
        pub const EXPLANATIONS: &[(&str, &str)] = &[$(($code, $explanation),)+];
    };
}

codes! {
    BAD_MOMENT = "S001",
        "A moment is written in one of four ways: `3s` after the begin of the scenario, `+1s` after the end of the previous step, `t0` at a mark, or `t0+1.3s` and `t0-200ms` around a mark. `start` and `end` are marks that every run has. A time always has a unit.";
    UNKNOWN_MARK = "S002",
        "The mark is not set by an earlier step (in a step) or by any step (in a check). Marks are set with `mark = \"t0\"` in the step that they name. Those of a setup can be named by script and checks; a teardown, which also follows a script that broke, knows its own ones only, and no check looks at it.";
    UNKNOWN_SIGNAL = "S003",
        "A signal is a subject and a quantity: `bat1.p`, `grid.f`, `pcc.p`. Subjects are the devices of the rig, `grid` and `pcc`; quantities are p, q, v, f, soc, on, available and, of the utility, live, phase, angle and noise.";
    WRONG_UNIT = "S004",
        "The value does not fit the signal: it has no unit, or one of another quantity. Power is written in W or kW, frequency in Hz, voltage in V, a state of charge in percent, a switch as on or off. A bare number is never guessed.";
    BAD_FAULT = "S005",
        "A fault is written `\"lan1.loss\" = \"20%\"` or `\"inv1.stuck\" = \"on\"`: a bus or device, a dot, the fault's name, and its value. `\"off\"` takes the fault away.";
    IDLE_STEP = "S006",
        "The step does nothing: it sets nothing, puts in no fault, asks for no mode, marks nothing and waits for nothing. Probably a key is misspelt, or the step can go.";
    ONE_CHECK = "S007",
        "Each check says one thing, by exactly one of the keys band, curve, never, always, t_start, t90, t_full, overshoot, settle, accuracy, score, availability, count, energy, mode, event, ordered, kpi, link, jitter, ledger, market, delivered, penalised and booked. Write two checks for two questions, so that each gets its own verdict.";
    BAD_WINDOW = "S008",
        "The window of a check has one end: either `for = \"5s\"` or `to = \"t1\"`, not both, and it ends after it begins.";
    BAD_CONDITION = "S009",
        "A condition is a signal, one of > >= < <= == !=, and a value: `bat1.p > 2.05kW`. The mode can only be compared for equality: `mode == islanded`.";
    UNKNOWN_PLACEHOLDER = "S010",
        "A text in braces stands for a value of the matrix, such as `{loss}`; the matrix has no such name.";
    BAD_MATRIX = "S011",
        "The matrix is a table of lists of texts, none of them empty, or of ranges: `{ from = \"0%\", to = \"100%\", step = \"20%\" }`, three numbers with one unit, whose steps end at `to`. A scenario runs once for every combination, so their number is limited to a thousand, and that of the runs of a file, mutants included, to ten thousand.";
    BACKWARDS = "S012",
        "The steps are carried out in the order in which they are written, and this one is earlier than the one before it. Reorder the steps, or write the time relative to the previous step: `+1s`. Waits count as if they took no time. A setup or teardown whose last step lies behind its own `within` is impossible, too.";
    NOTHING_CHECKED = "S013",
        "A scenario that checks nothing shows nothing. Add at least one check.";
    UNKNOWN_WORD = "S014",
        "The word is not one of the known ones: a mode (starting, grid_connected, leaving, islanding, islanded, resynchronising, blackout, black_starting, safe), a mode request (island, disconnect, reconnect, black_start, safe, resume), a key figure or class of loads of `kpi`, what `expect` takes (pass, fail), or the kind of an event as it stands in events.jsonl.";
    MARK_TWICE = "S015",
        "Two steps set the same mark, or a step sets `start` or `end`, which every run has by itself. A check could not say which one it means.";
    BAD_NEED = "S016",
        "`need` says what the bench must have: a number of devices by role (pcc, breaker, pv, ess, battery, genset, load, meter) and `source = \"grid\"` when the utility's frequency and voltage must be settable. A bench without it skips the scenario.";
    BAD_UNTIL = "S017",
        "A wait has exactly one of the keys settle, above, below and mode, and always `within`, the time after which the bench has failed to get there. `settle` needs a `band`, `above` and `below` need a `value`.";
    BAD_NUMBER = "S018",
        "The number lies outside what makes sense here. A share is between 0 and 100 %, a time is longer than nothing, and a count is not negative.";
    UNCHECKABLE = "S019",
        "This kind of check does not fit this signal. A response time or a wait for settling needs a quantity that can have values in between, not a switch; `energy` needs an active power; `uncertainty` belongs to the checks whose value is a measurement of the signal itself: band, never and always.";
    NO_RETURN = "S020",
        "`for` says how long what the step sets with `set` or `step` lasts; then it is again what it was. It needs one of the two, and a signal that has a value to return to, which the random wander of the utility has not.";
    BAD_CURVE = "S021",
        "A `curve` needs `of`, the signal that the device looks at, and `points`, a list of pairs such as [\"230V\", \"0kvar\"] in ascending order: what it looks at, then what it shall answer. `mra_of` and `mra` are the accuracies of the two measurements, and neither is negative. A response time counts from the begin of the window and needs one that lasts more than twice as long.";
    BAD_MUTANT = "S022",
        "`mutants` names, for a device, what is wrong with each of the devices that this scenario has to catch: `mutants = { pv1 = [{ defect = \"no_latch\" }, { freq_droop = { k_of = 0.03 } }] }`. Each is laid over the `der` of the device's entry in `[emulate]` of the rig; `{ faults = [\"loss=1%\"] }` is a device of whatever kind that has these faults from the beginning, and nothing else may stand beside it. `controller = [{ defect = \"never_sheds\" }]` is a controller that is wrong.";
    NEVER_SEEN = "S023",
        "The window of this check holds nothing, however the run goes: it ends before it begins, it is over before the scenario begins, or it begins or ends behind the end of the record. A record reaches to a second behind the last step, and as far as checks count from marks with `for`, `max`, `within` or a mark in `to`; a window that goes to `end` makes it no longer.";
    NOT_ON_THE_BENCH = "S024",
        "The scenario names a device, bus, service or participant of the market that the rig has not: its own rig, or the one of `--rig`. Names are those under `[device]`, `[bus]`, `[market.participant]` and the services of the rig; beside them there are `grid`, `pcc`, the switches of the network and, for faults, `controller`.";
    NEVER_MEASURED = "S025",
        "A check or a wait looks at a signal that nothing on this rig measures, so that it would see nothing and be inconclusive. What a device tells stands in its profile (`gridrig check PROFILE` lists it); `grid.f` and `grid.v` are told by a breaker's meter or a source, and what is set in an emulated bench (`available`, `noise`) is not measured.";
    BAD_LOOP = "S026",
        "A loop is written among the steps as `{ repeat = 3, do = [ … ] }`. With `as = \"n\"` the text `{n}` stands for the number of the round, from 1, in every text of its steps; the name is one that neither the matrix nor a loop around it has. A script has at most 2000 steps and rounds when its loops are written out, and all combinations of the matrix together at most 100,000.";
    BAD_INCLUDE = "S027",
        "`include` lists files, relative to the one that it stands in, whose `setup`, `do`, `teardown` and `include` are taken over. A file that is not there, one that includes itself by whatever way, and more than a hundred files are refused.";
    ONLY_EMULATED = "S028",
        "The step sets something that only an emulated bench has (the sun, a load's consumption, a switch of the network, the utility where no grid simulator is), or puts a fault in, and this run is on a real bench, or what it is of is real on one that is half emulated. A scenario that needs a settable utility says `need = { source = \"grid\" }`: a bench without one is then no place to run it, and nothing is wrong with the file.";
    BAD_CHARACTERISTIC = "S029",
        "`adopt` names, for a device, one characteristic: `volt_var`, `volt_watt` or `watt_var` with points in per unit in ascending order, `freq_droop = { db_of_hz = 0.036, db_uf_hz = 0.036, k_of = 0.05, k_uf = 0.05 }`, or `power_factor = { pf = 0.95, absorbs = true }`. Its numbers must be such that a device could follow them.";
}

/// The longer explanation of a code.
#[must_use]
pub fn explanation(code: &str) -> Option<&'static str> {
    EXPLANATIONS
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_a_hole_and_each_is_explained() {
        for (i, (code, text)) in EXPLANATIONS.iter().enumerate() {
            assert_eq!(*code, format!("S{:03}", i + 1));
            assert!(text.ends_with('.') && text.len() > 60, "{code}: {text}");
        }
        assert_eq!(explanation("S999"), None);
    }
}
