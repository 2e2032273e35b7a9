//! Tells when an agreed exchange is not kept, and when it is again: once each, not in every cycle.

use std::time::Duration;

use model::{Event, Instant};
use quantities::{ActivePower, Bounds, Quantity};

use super::super::{Situation, Wishes};

/// How long the exchange must be outside of what was agreed, and inside again.
/// Chosen: 3 s; after a step of loads or sun a storage over Modbus has it back within two.
const LASTS: Duration = Duration::from_secs(3);

/// Whether the agreed exchange is broken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breach {
    /// Since when the exchange has been on the other side than what was told last.
    changed_since: Option<Instant>,
    /// Since when it has been broken, once that was told.
    told_at: Option<Instant>,
}

impl Breach {
    /// Looks at an exchange. `rest` is what the utility would bring if the storage rested.
    pub(super) fn look(
        &mut self,
        s: &Situation<'_>,
        limits: Bounds<ActivePower>,
        exchange: ActivePower,
        rest: ActivePower,
        wishes: &mut Wishes,
    ) {
        let missing = exchange - limits.clamp(exchange);
        let broken = missing != ActivePower::ZERO && s.armed;
        if broken == self.told_at.is_some() {
            self.changed_since = None;
            return;
        }
        let since = *self.changed_since.get_or_insert(s.now);
        if s.now.since(since) < LASTS {
            return;
        }
        self.changed_since = None;
        if broken {
            self.told_at = Some(since);
            wishes.events.push(Event::ExchangeMissed {
                missing_w: missing.as_watts(),
                why: cause(s, limits, rest),
            });
        } else {
            self.end(since, "the exchange is inside again", wishes);
        }
    }

    /// Nothing is agreed any more that counts now.
    pub(super) fn lapse(&mut self, now: Instant, wishes: &mut Wishes) {
        self.changed_since = None;
        self.end(now, "no limit of the exchange counts now", wishes);
    }

    fn end(&mut self, at: Instant, why: &str, wishes: &mut Wishes) {
        if let Some(since) = self.told_at.take() {
            wishes.events.push(Event::ExchangeKept {
                after_s: at.since(since).as_secs_f64(),
                why: why.into(),
            });
        }
    }
}

/// Why the storage, and the sun under its ceiling, do not keep the exchange inside.
fn cause(s: &Situation<'_>, limits: Bounds<ActivePower>, rest: ActivePower) -> String {
    let settings = &s.bench.settings;
    let off_nominal = |f: quantities::Frequency| (f - settings.nominal_f).abs() > settings.deadband;
    if let Some(f) = s.seen.f.filter(|f| off_nominal(*f)) {
        return format!("a frequency of {f:.3} is answered first");
    }
    let able = s.storage_able();
    let needed = rest - limits.clamp(rest);
    if needed > ActivePower::ZERO {
        let floor = settings.reserve_soc;
        let at_floor = floor.filter(|floor| s.seen.soc.is_none_or(|soc| soc <= *floor));
        let free = able.upper() - settings.reserve_p.unwrap_or(ActivePower::ZERO);
        if let Some(floor) = at_floor {
            return match s.seen.soc {
                Some(soc) => format!(
                    "{needed:.1} are needed of the storage; charge {:.0} %, reserve {:.0} %",
                    soc.as_percent(),
                    floor.as_percent()
                ),
                None => {
                    format!("{needed:.1} are needed of the storage, and its charge is not known")
                }
            };
        }
        if able.upper() < needed {
            return format!(
                "{needed:.1} are needed, the storage can give {:.1}",
                able.upper()
            );
        }
        if let Some(kept) = settings.reserve_p.filter(|_| free < needed) {
            let free = Quantity::max(free, ActivePower::ZERO);
            return format!(
                "{needed:.1} are needed; {kept:.1} stay in reserve, {free:.1} are free"
            );
        }
    } else if able.lower() > needed {
        let held = s
            .bench
            .of_role(model::Role::Pv)
            .all(|(_, spec)| spec.takes_ceiling);
        let sun = if held {
            "the sun is held"
        } else {
            "not all of the sun can be held"
        };
        return format!(
            "{:.1} are too much, the storage can take {:.1}, {sun}",
            needed.abs(),
            able.lower().abs()
        );
    }
    format!("{needed:.1} are asked of the storage, and the devices do not follow")
}
