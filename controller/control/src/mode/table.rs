//! What leads where: the only place that says which transitions there are.

use model::{Mode, ModeRequest};

use super::guard::Guard;

/// What can move the microgrid from one mode to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// The breaker is seen closed (or there is none).
    SeenClosed,
    /// The breaker is seen open.
    SeenOpen,
    /// The utility's voltage or frequency has left the limits of a healthy one, the breaker still closed.
    MainsLost,
    /// The planned way out of the grid came to nothing.
    LeaveFailed,
    /// Frequency and voltage of the island stayed inside their bands.
    Settled,
    /// No voltage on the bus.
    SeenDead,
    /// Voltage on a bus that was dead.
    SeenLive,
    /// The utility is healthy and a return is wanted.
    ReturnWanted,
    /// The breaker did not close in time, or the utility became unhealthy.
    ReturnFailed,
    /// The dead bus did not come up in time.
    StartFailed,
    /// A person or a script asks for an island.
    IslandAsked,
    /// The utility demands that the microgrid leave.
    DisconnectAsked,
    /// A person or a script asks for the utility.
    ReconnectAsked,
    /// A person or a script asks to bring up the dead bus.
    BlackStartAsked,
    /// Bring everything to rest.
    SafeAsked,
    /// Leave the safe mode.
    ResumeAsked,
}

impl Trigger {
    /// All triggers.
    pub const ALL: &'static [Self] = &[
        Self::SeenClosed,
        Self::SeenOpen,
        Self::MainsLost,
        Self::LeaveFailed,
        Self::Settled,
        Self::SeenDead,
        Self::SeenLive,
        Self::ReturnWanted,
        Self::ReturnFailed,
        Self::StartFailed,
        Self::IslandAsked,
        Self::DisconnectAsked,
        Self::ReconnectAsked,
        Self::BlackStartAsked,
        Self::SafeAsked,
        Self::ResumeAsked,
    ];

    /// The trigger that a request pulls.
    #[must_use]
    pub fn of(request: ModeRequest) -> Self {
        match request {
            ModeRequest::Island => Self::IslandAsked,
            ModeRequest::Disconnect => Self::DisconnectAsked,
            ModeRequest::Reconnect => Self::ReconnectAsked,
            ModeRequest::BlackStart => Self::BlackStartAsked,
            ModeRequest::Safe => Self::SafeAsked,
            ModeRequest::Resume => Self::ResumeAsked,
        }
    }
}

/// A transition: from a mode, by a trigger, to another, if every guard lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it begins.
    pub from: Mode,
    /// What pulls it.
    pub on: Trigger,
    /// Where it leads.
    pub to: Mode,
    /// What must hold.
    pub guards: &'static [Guard],
}

const fn row(from: Mode, on: Trigger, to: Mode, guards: &'static [Guard]) -> Row {
    Row {
        from,
        on,
        to,
        guards,
    }
}

/// Every transition there is. What is not in the table does not happen.
pub const TABLE: &[Row] = {
    use Guard as G;
    use Mode as M;
    use Trigger as T;
    &[
        row(M::Starting, T::SeenClosed, M::GridConnected, &[]),
        row(M::Starting, T::SeenOpen, M::Islanding, &[]),
        row(M::Starting, T::SafeAsked, M::Safe, &[]),
        row(
            M::GridConnected,
            T::IslandAsked,
            M::Leaving,
            &[
                G::BreakerThere,
                G::StorageReady,
                G::ChargeAboveReserve,
                G::ReserveCoversLoads,
            ],
        ),
        // Who is ordered off the grid goes, prepared or not; shedding does the rest.
        row(
            M::GridConnected,
            T::DisconnectAsked,
            M::Leaving,
            &[G::BreakerThere],
        ),
        row(
            M::GridConnected,
            T::MainsLost,
            M::Leaving,
            &[G::BreakerThere],
        ),
        row(M::GridConnected, T::SeenOpen, M::Islanding, &[]),
        row(M::GridConnected, T::SafeAsked, M::Safe, &[]),
        row(M::Leaving, T::SeenOpen, M::Islanding, &[]),
        row(M::Leaving, T::LeaveFailed, M::GridConnected, &[]),
        row(M::Leaving, T::ReconnectAsked, M::GridConnected, &[]),
        row(M::Leaving, T::SafeAsked, M::Safe, &[]),
        row(M::Islanding, T::Settled, M::Islanded, &[]),
        row(M::Islanding, T::SeenClosed, M::GridConnected, &[]),
        row(M::Islanding, T::SeenDead, M::Blackout, &[]),
        row(M::Islanding, T::SafeAsked, M::Safe, &[]),
        row(
            M::Islanded,
            T::ReturnWanted,
            M::Resynchronising,
            &[G::BreakerFree, G::UtilityHealthy],
        ),
        row(M::Islanded, T::SeenClosed, M::GridConnected, &[]),
        row(M::Islanded, T::SeenDead, M::Blackout, &[]),
        row(M::Islanded, T::SafeAsked, M::Safe, &[]),
        row(M::Resynchronising, T::SeenClosed, M::GridConnected, &[]),
        row(M::Resynchronising, T::ReturnFailed, M::Islanded, &[]),
        row(M::Resynchronising, T::IslandAsked, M::Islanded, &[]),
        row(M::Resynchronising, T::SeenDead, M::Blackout, &[]),
        row(M::Resynchronising, T::SafeAsked, M::Safe, &[]),
        // A closed breaker on a dead bus is no grid: the utility has to be there as well.
        row(
            M::Blackout,
            T::SeenClosed,
            M::GridConnected,
            &[G::VoltageOnBus],
        ),
        row(M::Blackout, T::SeenLive, M::Islanding, &[G::BreakerOpen]),
        row(
            M::Blackout,
            T::BlackStartAsked,
            M::BlackStarting,
            &[
                G::BreakerOpen,
                G::BusDead,
                G::StorageReady,
                G::ChargeAboveReserve,
            ],
        ),
        row(M::Blackout, T::SafeAsked, M::Safe, &[]),
        row(M::BlackStarting, T::Settled, M::Islanded, &[G::BreakerOpen]),
        row(
            M::BlackStarting,
            T::SeenClosed,
            M::GridConnected,
            &[G::VoltageOnBus],
        ),
        row(M::BlackStarting, T::StartFailed, M::Blackout, &[]),
        row(M::BlackStarting, T::SafeAsked, M::Safe, &[]),
        row(M::Safe, T::ResumeAsked, M::Starting, &[]),
    ]
};

/// The transition of a trigger in a mode; `None` when the table has none.
#[must_use]
pub fn find(mode: Mode, trigger: Trigger) -> Option<&'static Row> {
    TABLE
        .iter()
        .find(|row| row.from == mode && row.on == trigger)
}

/// The table as a Mermaid diagram, for ARCHITECTURE.md.
#[must_use]
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> starting\n");
    for Row {
        from,
        on,
        to,
        guards,
    } in TABLE
    {
        text.push_str(&format!("    {from} --> {to}: {on:?}"));
        if !guards.is_empty() {
            let names: Vec<_> = guards.iter().map(|g| g.name()).collect();
            text.push_str(&format!(" [{}]", names.join(", ")));
        }
        text.push('\n');
    }
    text
}

/// Every mode against every trigger: where it leads, or `-` where it leads nowhere.
#[must_use]
pub fn matrix() -> String {
    let mut text = String::new();
    for mode in Mode::ALL {
        for trigger in Trigger::ALL {
            let to = match find(*mode, *trigger) {
                Some(row) if row.guards.is_empty() => row.to.to_string(),
                Some(row) => {
                    let names: Vec<_> = row.guards.iter().map(|g| g.name()).collect();
                    format!("{} if {}", row.to, names.join(" and "))
                }
                None => "-".into(),
            };
            text.push_str(&format!("{mode:<16} {:<16} {to}\n", format!("{trigger:?}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_answers_every_mode_and_trigger_in_one_way_only() {
        for mode in Mode::ALL {
            for trigger in Trigger::ALL {
                let rows = TABLE
                    .iter()
                    .filter(|row| row.from == *mode && row.on == *trigger)
                    .count();
                assert!(rows <= 1, "{mode} {trigger:?}");
            }
        }
    }

    #[test]
    fn every_mode_but_safe_can_be_brought_to_safe_unguarded_and_safe_is_left_only_by_a_person() {
        for mode in Mode::ALL {
            let way = find(*mode, Trigger::SafeAsked);
            let expected = (*mode != Mode::Safe).then_some((Mode::Safe, 0));
            assert_eq!(
                way.map(|row| (row.to, row.guards.len())),
                expected,
                "{mode}"
            );
        }
        let ways_out: Vec<_> = Trigger::ALL
            .iter()
            .filter(|t| find(Mode::Safe, **t).is_some())
            .collect();
        assert_eq!(ways_out, [&Trigger::ResumeAsked]);
    }

    #[test]
    fn every_mode_is_reached_from_starting_and_has_a_way_on() {
        let mut reached = vec![Mode::Starting];
        let mut at = 0;
        while at < reached.len() {
            let from = reached[at];
            let onward: Vec<_> = TABLE.iter().filter(|row| row.from == from).collect();
            assert!(!onward.is_empty(), "{from} is a dead end");
            for row in onward {
                if !reached.contains(&row.to) {
                    reached.push(row.to);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), Mode::ALL.len(), "{reached:?}");
    }

    #[test]
    fn the_diagram_is_printed_from_the_table() {
        insta::assert_snapshot!(diagram());
    }

    #[test]
    fn every_mode_against_every_trigger_is_printed_from_the_table() {
        insta::assert_snapshot!(matrix());
    }
}
