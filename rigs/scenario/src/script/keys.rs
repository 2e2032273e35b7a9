//! The keys of a scenario file: what may stand where, what it is, and an example of each.
//!
//! The reader takes the kinds of checks, what makes a step do something and what is known of a
//! table that it could not read to its end from here, and editors get a schema of it. That reader
//! and tables name the same keys is tested with the examples.

use model::{Mode, ModeRequest};

use crate::check::{LoadClass, MarketWord};
use crate::series::EVENT_KINDS;

/// A key of a table.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    /// The key.
    pub(crate) name: &'static str,
    /// What stands under it.
    pub(crate) holds: Holds,
    /// Whether it must be there.
    pub(crate) must: bool,
    /// What it is, in a sentence for somebody who writes it.
    pub(crate) about: &'static str,
}

/// What stands under a key.
#[derive(Clone, Copy)]
pub(crate) enum Holds {
    /// A text, such as a moment, a time, a signal or a value with its unit.
    Text,
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// A list of texts.
    Texts,
    /// A list of pairs of texts.
    Pairs,
    /// A list of pairs of numbers.
    Curve,
    /// True or false.
    Flag,
    /// A number.
    Number,
    /// A whole number in a range.
    Integer(i64, i64),
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table with any keys, under each of which this stands.
    Map(&'static Holds),
    /// One of several.
    Either(&'static [Holds]),
    /// A list of steps and loops.
    Steps,
    /// A list of checks.
    Checks,
    /// A list of tables with any keys.
    Tables,
}

const fn may(name: &'static str, holds: Holds, about: &'static str) -> Key {
    Key {
        name,
        holds,
        must: false,
        about,
    }
}

const fn must(name: &'static str, holds: Holds, about: &'static str) -> Key {
    Key {
        name,
        holds,
        must: true,
        about,
    }
}

use Holds::{
    Checks, Curve, Either, Integer, Map, Number, Pairs, Steps, Table, Tables, Text, Texts, Words,
};

/// A number of devices, or that the utility can be set.
const NEEDED: Holds = Either(&[Integer(0, 1000), Words(|| vec!["grid"])]);
/// A list of values, or a range.
const VALUES: Holds = Either(&[Texts, Table(RANGE)]);
/// At the top of a scenario.
pub(crate) const ROOT: &[Key] = &[
    must("name", Text, "What is shown, in one line."),
    may(
        "source",
        Texts,
        "Where the demands come from; a clause only where somebody has read it.",
    ),
    may("tags", Texts, "Words to select by."),
    may(
        "rig",
        Text,
        "Rig file, relative to this one; without it the demo bench.",
    ),
    may(
        "need",
        Map(&NEEDED),
        "What the bench must have: a number by role, and `source = \"grid\"`.",
    ),
    may(
        "matrix",
        Map(&VALUES),
        "One run for each combination; {name} stands for the value.",
    ),
    may("seed", Integer(0, i64::MAX), "Seed of everything random."),
    may(
        "expect",
        Words(|| vec!["pass", "fail"]),
        "`fail` marks a device known to be bad.",
    ),
    may(
        "mutants",
        Map(&Tables),
        "Devices that are wrong on purpose and that this scenario has to catch.",
    ),
    may(
        "include",
        Texts,
        "Files, relative to this one, whose setup, steps and teardown are taken over.",
    ),
    may(
        "setup",
        Table(PHASE),
        "Steps that make the bench ready; a failure in them is one of the bench.",
    ),
    may("do", Steps, "The steps."),
    must("check", Checks, "The demands."),
    may(
        "teardown",
        Table(PHASE),
        "Steps that put the bench back, also after a failure.",
    ),
    may(
        "after",
        Table(AFTER),
        "What happens at the end, whatever happened before.",
    ),
];

/// A range of values in a matrix.
pub(crate) const RANGE: &[Key] = &[
    must("from", Text, "The first value."),
    must("to", Text, "The last value, which the steps meet."),
    must(
        "step",
        Text,
        "The distance of two values, negative downwards.",
    ),
];

/// A setup or teardown.
pub(crate) const PHASE: &[Key] = &[
    must("do", Steps, "The steps."),
    must("within", Text, "Time for all of them together."),
];

/// What happens at the end.
pub(crate) const AFTER: &[Key] = &[
    may("safe", Texts, "Devices whose rest is waited for."),
    must("within", Text, "Time for it."),
];

/// When a step is; all other keys of a step say what it does.
pub(crate) const AT: &str = "at";

/// A step.
pub(crate) const STEP: &[Key] = &[
    must(
        AT,
        Text,
        "When: `3s`, `+1s` behind the step before, `t0`, `t0+1.3s`.",
    ),
    may(
        "set",
        Map(&Text),
        "Signals to set, as a starting condition.",
    ),
    may(
        "step",
        Map(&Text),
        "Signals to set, as the stimulus of the test.",
    ),
    may(
        "for",
        Text,
        "How long `set` and `step` last; then all is as it was.",
    ),
    may(
        "hold",
        Map(&Text),
        "What the controller holds for the operator: p, q or on of a device.",
    ),
    may(
        "ramp",
        Map(&Table(RAMP)),
        "Signals that move along a straight line.",
    ),
    may("play", Text, "A recorded course beside the scenario."),
    may(
        "fault",
        Map(&Text),
        "Faults to put in, or `off` to take away, by device or bus.",
    ),
    may("release", Texts, "Devices that the operator lets go."),
    may("unplug", Texts, "Devices that hear nothing any more."),
    may("plug", Texts, "Devices that hear us again."),
    may(
        "mode",
        Words(requests),
        "A change of mode that is asked for.",
    ),
    may(
        "agree",
        Table(AGREE),
        "What is agreed with the utility from now on.",
    ),
    may("hand_over", Text, "The device that is to form the island."),
    may(
        "adopt",
        Map(&Table(ADOPT)),
        "A characteristic by device, one each, that it is to follow by itself.",
    ),
    may("until", Table(UNTIL), "What the step waits for."),
    may("mark", Text, "A name for this moment."),
];

/// What a device is to follow by itself: one of these, and for how long.
pub(crate) const ADOPT: &[Key] = &[
    may(
        "volt_var",
        Curve,
        "Reactive power over voltage, in per unit.",
    ),
    may(
        "volt_watt",
        Curve,
        "Active power over voltage, in per unit.",
    ),
    may(
        "watt_var",
        Curve,
        "Reactive over active power, in per unit.",
    ),
    may(
        "freq_droop",
        Table(DROOP),
        "Deadbands and slopes of a frequency droop.",
    ),
    may(
        "power_factor",
        Table(POWER_FACTOR),
        "A constant power factor.",
    ),
    may(
        "revert",
        Text,
        "Time after which the device gives it up by itself.",
    ),
];

/// A frequency droop.
pub(crate) const DROOP: &[Key] = &[
    must("db_of_hz", Number, "Deadband above nominal."),
    must("db_uf_hz", Number, "Deadband below nominal."),
    must("k_of", Number, "Droop above nominal, in per unit."),
    must("k_uf", Number, "Droop below nominal, in per unit."),
];

/// A constant power factor.
pub(crate) const POWER_FACTOR: &[Key] = &[
    must("pf", Number, "The power factor."),
    may("absorbs", Holds::Flag, "Whether it absorbs reactive power."),
];

/// A loop among steps.
pub(crate) const LOOP: &[Key] = &[
    must(
        "repeat",
        Integer(1, 1000),
        "How often its steps are carried out.",
    ),
    may(
        "as",
        Text,
        "A name; {name} stands for the number of the round in the texts of its steps.",
    ),
    must("do", Steps, "The steps, or loops again."),
];

/// A movement along a straight line.
pub(crate) const RAMP: &[Key] = &[
    must("to", Text, "The value at its end."),
    must("over", Text, "How long it takes."),
];

/// What is agreed with the utility.
pub(crate) const AGREE: &[Key] = &[
    may(
        "pcc_target",
        Text,
        "Exchange that is held, such as \"1kW\".",
    ),
    may(
        "pcc_limits",
        Text,
        "Range of the exchange, such as \"-3..5kW\".",
    ),
    may("pcc_pf_min", Number, "Least power factor."),
    may("pcc_q", Text, "Reactive power that is held."),
];

/// What a step waits for.
pub(crate) const UNTIL: &[Key] = &[
    must(
        "within",
        Text,
        "Time from the step's moment after which the wait has failed.",
    ),
    may("settle", Text, "The signal that comes to rest."),
    may(
        "band",
        Text,
        "How far from its value it may be; with `settle`.",
    ),
    may("to", Text, "The value at which it rests; with `settle`."),
    may(
        "for",
        Text,
        "How long it has rested, 1s unless told; with `settle`.",
    ),
    may("above", Text, "The signal that rises above `value`."),
    may("below", Text, "The signal that falls below `value`."),
    may("value", Text, "With `above` and `below`."),
    may("mode", Words(modes), "The mode that is reached."),
];

/// The keys that every check may have.
pub(crate) const OF_ALL: &[Key] = &[
    may("name", Text, "What the report calls it."),
    may(
        "uncertainty",
        Text,
        "Plus or minus of the measured value: `band`, `never` and `always` of a signal.",
    ),
];

const FROM: Key = may(
    "from",
    Text,
    "Begin of the window: a mark, `start` unless told.",
);
const FOR: Key = may("for", Text, "Length of the window, in place of `to`.");
const TO: Key = may("to", Text, "End of the window, `end` unless told.");
const MAX_GAP: Key = may(
    "max_gap",
    Text,
    "Longest hole in the data that is overlooked, 2s unless told.",
);
const AT_LEAST: Key = may(
    "at_least",
    Integer(0, 1_000_000),
    "Least number, 1 unless told.",
);
const AT_MOST: Key = may(
    "at_most",
    Integer(0, 1_000_000),
    "Largest number; 0 for never.",
);
const STIMULUS: Key = must("from", Text, "The mark of the stimulus.");

/// A kind of check: the key that says which, the others, and examples of it.
pub(crate) struct Kind {
    /// The key that says which kind it is.
    pub(crate) key: Key,
    /// The other keys.
    pub(crate) keys: &'static [Key],
    /// Checks of this kind, each a table; together they have all of its keys.
    pub(crate) examples: &'static [&'static str],
}

const fn kind(
    name: &'static str,
    holds: Holds,
    about: &'static str,
    keys: &'static [Key],
    examples: &'static [&'static str],
) -> Kind {
    Kind {
        key: must(name, holds, about),
        keys,
        examples,
    }
}

const RESPONSE: &[Key] = &[
    STIMULUS,
    must("max", Text, "Longest allowed time."),
    may("to", Text, "The settled value; without it as observed."),
    may(
        "over",
        Text,
        "Length of the observation, five times `max` unless told.",
    ),
    MAX_GAP,
];

/// The kinds of checks.
pub(crate) const CHECKS: &[Kind] = &[
    kind(
        "band",
        Text,
        "Every measurement of the signal lies in the range.",
        &[
            must("within", Text, "The range, such as \"1.9..2.1kW\"."),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[
            r#"{ band = "ess1.p", within = "1.9..2.1kW", from = "t0+1s", for = "5s", max_gap = "100ms", uncertainty = "10W" }"#,
        ],
    ),
    kind(
        "curve",
        Text,
        "The signal answers another one as its characteristic says.",
        &[
            must("of", Text, "The signal that it answers."),
            must(
                "points",
                Pairs,
                "What it looks at and what it answers, in ascending order.",
            ),
            must("mra_of", Text, "Accuracy of the measurement of `of`."),
            must("mra", Text, "Accuracy of the measurement of the answer."),
            may(
                "response",
                Text,
                "Response time; the window begins at the step then.",
            ),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[
            r#"{ curve = "der1.q", of = "der1.v", points = [["211V", "4kvar"], ["230V", "0kvar"]], mra_of = "2.3V", mra = "500var", from = "t0", response = "5s", for = "15s" }"#,
        ],
    ),
    kind(
        "t_start",
        Text,
        "5 % of the step are covered in time.",
        RESPONSE,
        &[r#"{ t_start = "ess1.p", from = "t0", max = "1s" }"#],
    ),
    kind(
        "t90",
        Text,
        "90 % of the step are covered in time.",
        RESPONSE,
        &[r#"{ t90 = "ess1.p", from = "t0", to = "1kW", max = "1s", over = "5s" }"#],
    ),
    kind(
        "t_full",
        Text,
        "97 % of the step are covered in time.",
        RESPONSE,
        &[r#"{ t_full = "ess1.p", from = "t0", to = "1kW", max = "2s" }"#],
    ),
    kind(
        "overshoot",
        Text,
        "The signal goes no further beyond the end of its step than so much.",
        &[
            STIMULUS,
            must("to", Text, "The settled value."),
            must("over", Text, "Length of the observation."),
            must(
                "at_most",
                Text,
                "Largest share of the step, such as \"5%\".",
            ),
            MAX_GAP,
        ],
        &[r#"{ overshoot = "ess1.p", from = "t0", to = "1kW", over = "5s", at_most = "5%" }"#],
    ),
    kind(
        "settle",
        Text,
        "The signal comes near a value in time, and stays there.",
        &[
            STIMULUS,
            must("to", Text, "The value."),
            must("tolerance", Text, "How far from it is settled."),
            must("max", Text, "Time in which it has to be there."),
            may(
                "for",
                Text,
                "Time for which it has to stay, 1s unless told.",
            ),
            MAX_GAP,
        ],
        &[
            r#"{ settle = "ess1.p", from = "t0", to = "1kW", tolerance = "50W", max = "5s", for = "2s" }"#,
        ],
    ),
    kind(
        "accuracy",
        Text,
        "A service delivers what was asked, on average, within a share of what was sold.",
        &[
            must("at_most", Text, "The share, such as \"5%\"."),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[r#"{ accuracy = "afrr1", at_most = "5%" }"#],
    ),
    kind(
        "score",
        Text,
        "The performance score of a regulating service is at least so much.",
        &[
            must("at_least", Number, "The score, 0 to 1."),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[r#"{ score = "regd1", at_least = 0.75 }"#],
    ),
    kind(
        "availability",
        Text,
        "What was sold could have been given for this share of the time.",
        &[
            must("at_least", Text, "The share, such as \"99.9%\"."),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[r#"{ availability = "fcr1", at_least = "99.9%" }"#],
    ),
    kind(
        "never",
        Text,
        "The condition is at no time true.",
        &[FROM, FOR, TO, MAX_GAP],
        &[r#"{ never = "ess1.p > 2.05kW" }"#],
    ),
    kind(
        "always",
        Text,
        "The condition is at all times true.",
        &[FROM, FOR, TO, MAX_GAP],
        &[r#"{ always = "ess1.p <= 2.05kW", from = "t0", to = "end" }"#],
    ),
    kind(
        "count",
        Text,
        "The condition becomes true so often.",
        &[AT_LEAST, AT_MOST, FROM, FOR, TO, MAX_GAP],
        &[r#"{ count = "ess1.p > 0.5kW", at_least = 2, at_most = 2 }"#],
    ),
    kind(
        "energy",
        Text,
        "The power summed over the window lies in the range.",
        &[
            must("within", Text, "The range, such as \"16..17Wh\"."),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[r#"{ energy = "ess1.p", from = "t0", for = "60s", within = "16..17Wh" }"#],
    ),
    kind(
        "mode",
        Words(modes),
        "The mode is there, or is reached in time.",
        &[
            must("within", Text, "The time."),
            may("from", Text, "From when, `start` unless told."),
        ],
        &[r#"{ mode = "islanded", from = "t0", within = "2s" }"#],
    ),
    kind(
        "event",
        Words(|| EVENT_KINDS.to_vec()),
        "The event happens so often.",
        &[
            may("device", Text, "The device that it concerns."),
            AT_LEAST,
            AT_MOST,
            FROM,
            FOR,
            TO,
        ],
        &[r#"{ event = "load_shed", device = "plug1", at_most = 0 }"#],
    ),
    kind(
        "ordered",
        Texts,
        "Events happen in this order: kinds, each with a device behind it if wanted.",
        &[FROM, FOR, TO],
        &[r#"{ ordered = ["load_shed plug1", "load_restored"] }"#],
    ),
    kind(
        "kpi",
        Words(super::read::figures),
        "A key figure of the microgrid is at least or at most so much.",
        &[
            may("at_least", Number, "Least value, in the figure's unit."),
            may("at_most", Number, "Largest value, in the figure's unit."),
            may(
                "class",
                Words(load_classes),
                "Of `load_served` and `time_served`: which loads.",
            ),
            may(
                "within",
                Text,
                "Of `exchange`: the range, such as \"-3..5kW\".",
            ),
            may("pf", Number, "Of `power_factor`: the least one."),
            FROM,
            FOR,
            TO,
            MAX_GAP,
        ],
        &[
            r#"{ kpi = "load_served", class = "critical", at_least = 99.9 }"#,
            r#"{ kpi = "exchange", within = "-3..5kW", at_least = 99 }"#,
            r#"{ kpi = "power_factor", pf = 0.95, at_least = 99 }"#,
            r#"{ kpi = "carbon_dioxide", at_most = 2 }"#,
        ],
    ),
    kind(
        "link",
        Text,
        "A device was asked often, answered soon, and hardly an answer was lost.",
        &[
            must(
                "p99",
                Text,
                "Time that one in a hundred answers may exceed.",
            ),
            must("loss", Text, "Largest share of requests that are lost."),
            may(
                "requests",
                Integer(1, 1_000_000),
                "Requests without which nothing can be said, 1000 unless told.",
            ),
        ],
        &[r#"{ link = "pv1", p99 = "50ms", loss = "0.1%", requests = 500 }"#],
    ),
    kind(
        "jitter",
        Text,
        "The control cycles came evenly, within a share of the period.",
        &[
            must(
                "overruns",
                Text,
                "Largest share of cycles that were left out.",
            ),
            FROM,
            FOR,
            TO,
        ],
        &[r#"{ jitter = "20%", overruns = "0.1%" }"#],
    ),
    kind(
        "ledger",
        Words(|| vec!["complete"]),
        "Every dispatch is in the ledger, and the ledger verifies.",
        &[],
        &[r#"{ ledger = "complete" }"#],
    ),
    kind(
        "market",
        Words(|| MarketWord::ALL.iter().map(|(name, _)| *name).collect()),
        "Of the market of the whole run: every interval that ended was settled and all accounts sum to zero, or all of it comes out again from the ledger.",
        &[],
        &[r#"{ market = "settled" }"#, r#"{ market = "replayed" }"#],
    ),
    kind(
        "delivered",
        Texts,
        "Each of these participants of the market delivered what it committed.",
        &[
            must(
                "at_most",
                Text,
                "Largest part of what one committed that its meter may be off by.",
            ),
            FROM,
            FOR,
            TO,
        ],
        &[r#"{ delivered = ["pv1", "ess1"], at_most = "1%" }"#],
    ),
    kind(
        "penalised",
        Texts,
        "These participants of the market have paid penalties into the pool, and nobody else has; an empty list for nobody.",
        &[],
        &[r#"{ penalised = ["plug1"] }"#],
    ),
    kind(
        "booked",
        Texts,
        "The settlements of the run book each of these participants of the market something of this kind that is not zero, and no other participant; an empty list for nobody. On a feeder `congestion` and `losses` are accounts, too.",
        &[
            must(
                "as",
                Words(|| {
                    runtime::desk::BOOKINGS
                        .iter()
                        .map(|(name, _)| *name)
                        .collect()
                }),
                "What the bookings are for.",
            ),
            may(
                "at_least",
                Integer(1, 1_000_000),
                "Settlements in which each is booked it, 1 unless told.",
            ),
        ],
        &[r#"{ booked = ["load1", "pv1"], as = "contract", at_least = 3 }"#],
    ),
];

fn modes() -> Vec<&'static str> {
    Mode::ALL.iter().map(|mode| mode.name()).collect()
}

fn requests() -> Vec<&'static str> {
    ModeRequest::NAMES.iter().map(|(name, _)| *name).collect()
}

fn load_classes() -> Vec<&'static str> {
    LoadClass::NAMES.iter().map(|(name, _)| *name).collect()
}
