//! Payloads of metering and of the market. Integers only: energy in
//! milliwatt-hours, prices in milli-cents per kilowatt-hour, money in the
//! product of the two.

use super::control::all_hold;
use crate::hash::AtomId;
use crate::record::{Amount, SchemaError};

coded! {
    /// How a reading came about.
    ReadingQuality {
        /// Measured over the whole interval.
        Valid = 1 "valid",
        /// Filled in by a stated rule.
        Estimated = 2 "estimated",
        /// Not known; the energy is absent.
        Missing = 3 "missing",
    }
}

record! {
    /// Energy over an interval.
    MeterReading where reading_is_consistent {
        /// Whose meter.
        participant: String,
        /// Start of the interval in nanoseconds since the Unix epoch, UTC.
        interval_start_utc_ns: i64,
        /// Length of the interval in nanoseconds.
        interval_ns: u64,
        /// Energy in milliwatt-hours, positive into the AC bus; absent exactly
        /// when the quality is missing.
        energy_milliwatt_hours: Option<i64>,
        /// How it came about.
        quality: ReadingQuality,
    }
}

fn reading_is_consistent(r: &MeterReading) -> Result<(), SchemaError> {
    let is_missing = r.quality == ReadingQuality::Missing;
    all_hold(&[
        (
            !r.participant.is_empty(),
            "A reading names its participant.",
        ),
        (r.interval_ns > 0, "An interval has a length."),
        (
            r.energy_milliwatt_hours.is_none() == is_missing,
            "A reading has energy unless it is missing.",
        ),
    ])
}

coded! {
    /// The side of an order.
    Side {
        /// Buys energy.
        Buy = 1 "buy",
        /// Sells energy.
        Sell = 2 "sell",
    }
}

record! {
    /// One step of an offer: a limit price and the energy tradable at it.
    Step {
        /// Price in milli-cents per kilowatt-hour; it may be negative.
        price_millicents_per_kwh: i64,
        /// Quantity in milliwatt-hours, above zero.
        quantity_milliwatt_hours: i64,
    }
}

record! {
    /// An offer in one market interval: a curve of one side.
    Order where order_is_a_curve {
        /// Who offers.
        agent: String,
        /// Number of the market interval.
        interval: u64,
        /// Buys or sells.
        side: Side,
        /// All of its steps, best price first: falling for a buyer, rising for a seller.
        steps: Vec<Step>,
        /// Rank among equal prices; the lower goes first.
        rank: u64,
    }
}

fn order_is_a_curve(o: &Order) -> Result<(), SchemaError> {
    let worsens = |pair: &[Step]| {
        let (first, next) = (
            pair[0].price_millicents_per_kwh,
            pair[1].price_millicents_per_kwh,
        );
        match o.side {
            Side::Buy => first > next,
            Side::Sell => first < next,
        }
    };
    all_hold(&[
        (!o.agent.is_empty(), "An order names its agent."),
        (
            !o.steps.is_empty() && o.steps.iter().all(|s| s.quantity_milliwatt_hours > 0),
            "An order is for more than nothing, in each of its steps.",
        ),
        (
            o.steps.windows(2).all(worsens),
            "The steps of an order have their best price first, each its own.",
        ),
    ])
}

record! {
    /// An order that rests in the book of an interval is taken back.
    Withdrawal where withdrawal_names_its_agent {
        /// Whose order.
        agent: String,
        /// Number of the market interval.
        interval: u64,
        /// Its side; one has one order on each.
        side: Side,
    }
}

fn withdrawal_names_its_agent(w: &Withdrawal) -> Result<(), SchemaError> {
    all_hold(&[(!w.agent.is_empty(), "A withdrawal names its agent.")])
}

record! {
    /// How much of an order was served.
    Fill {
        /// The order.
        order: AtomId,
        /// Its agent.
        agent: String,
        /// Served quantity in milliwatt-hours.
        quantity_milliwatt_hours: i64,
        /// What it is worth in milli-cent milliwatt-hours per kilowatt-hour (1e-11
        /// EUR), positive to the agent.
        amount: Amount,
    }
}

record! {
    /// The result of a market interval.
    Clearing where clearing_is_consistent {
        /// Number of the market interval.
        interval: u64,
        /// Name of the mechanism that cleared it.
        mechanism: String,
        /// Traded quantity in milliwatt-hours.
        quantity_milliwatt_hours: i64,
        /// Uniform price in milli-cents per kilowatt-hour; absent without trade,
        /// and where not all trade at one price.
        price_millicents_per_kwh: Option<i64>,
        /// Lower end of the clearing prices in milli-cents per kilowatt-hour.
        price_low_millicents_per_kwh: Option<i64>,
        /// Upper end of the clearing prices in milli-cents per kilowatt-hour.
        price_high_millicents_per_kwh: Option<i64>,
        /// The served orders.
        fills: Vec<Fill>,
        /// What the mechanism leaves with the operator, in 1e-11 EUR and positive to
        /// it; with the fills it sums to zero.
        operator_amount: Amount,
    }
}

fn clearing_is_consistent(c: &Clearing) -> Result<(), SchemaError> {
    let range = c
        .price_low_millicents_per_kwh
        .zip(c.price_high_millicents_per_kwh);
    let mut amounts = c.fills.iter().map(|f| f.amount.0);
    let sum = amounts.try_fold(c.operator_amount.0, i128::checked_add);
    all_hold(&[
        (
            sum == Some(0),
            "The amounts of a clearing sum to zero, the operator's included.",
        ),
        (
            c.quantity_milliwatt_hours >= 0,
            "A traded quantity is not negative.",
        ),
        (
            range.is_none_or(|(low, high)| low <= high),
            "The lower price is not above the upper.",
        ),
        (
            c.fills.iter().all(|f| f.quantity_milliwatt_hours >= 0),
            "A served quantity is not negative.",
        ),
    ])
}

record! {
    /// One bilateral exchange.
    Trade {
        /// Who buys.
        buyer: String,
        /// Who sells.
        seller: String,
        /// Number of the market interval.
        interval: u64,
        /// Quantity in milliwatt-hours.
        quantity_milliwatt_hours: i64,
        /// Price in milli-cents per kilowatt-hour.
        price_millicents_per_kwh: i64,
    }
}

record! {
    /// One booking of a settlement.
    SettlementLine {
        /// The account.
        account: String,
        /// The amount in milli-cent milliwatt-hours per kilowatt-hour (1e-11
        /// EUR), positive to the account.
        amount: Amount,
        /// What it is for.
        what: String,
    }
}

record! {
    /// Who owes whom after an interval.
    Settlement {
        /// Number of the market interval.
        interval: u64,
        /// Whether deviations cost no penalty, since nobody was asked to deliver.
        is_excused: bool,
        /// The bookings.
        lines: Vec<SettlementLine>,
    }
}

coded! {
    /// How a participant stands after what it has kept and broken.
    StandingKind {
        /// Nothing is held against it.
        Good = 1 "good",
        /// It has to cover more.
        Called = 2 "called",
        /// Not all of its energy is accepted either.
        Capped = 3 "capped",
        /// It may not order.
        Suspended = 4 "suspended",
    }
}

record! {
    /// What counts of a participant when it orders.
    TermsAccount {
        /// Who.
        participant: String,
        /// How it stands.
        standing: StandingKind,
        /// Broken intervals that count against it; of a suspension the intervals left.
        count: u64,
        /// What is left of its deposit to cover orders, in 1e-11 EUR.
        deposit: Amount,
    }
}

record! {
    /// The terms of a market interval, told before its orders.
    Terms where terms_are_consistent {
        /// Number of the market interval.
        interval: u64,
        /// What a unit beyond the tolerance costs, in milli-cents per kilowatt-hour.
        penalty_millicents_per_kwh: i64,
        /// The least at which deviating does not pay, in milli-cents per kilowatt-hour.
        penalty_low_millicents_per_kwh: i64,
        /// The most at which honest trading still does, in milli-cents per
        /// kilowatt-hour; absent without bound.
        penalty_high_millicents_per_kwh: Option<i64>,
        /// Deviation that is free, in milliwatt-hours.
        tolerance_milliwatt_hours: i64,
        /// Deviation that is free relative to the commitment, in parts per million.
        tolerance_ppm: u64,
        /// Everybody who has a deposit.
        accounts: Vec<TermsAccount>,
    }
}

fn terms_are_consistent(t: &Terms) -> Result<(), SchemaError> {
    let (low, rate) = (
        t.penalty_low_millicents_per_kwh,
        t.penalty_millicents_per_kwh,
    );
    let high = t.penalty_high_millicents_per_kwh;
    all_hold(&[
        (
            0 <= low && low <= rate && high.is_none_or(|high| rate <= high),
            "A penalty lies between its bounds and is not negative.",
        ),
        (
            t.tolerance_milliwatt_hours >= 0,
            "A tolerance is not negative.",
        ),
    ])
}

record! {
    /// How reserve of a participant was called in a market interval, and how it followed.
    Activation where activation_is_consistent {
        /// Whose reserve.
        participant: String,
        /// Number of the market interval.
        interval: u64,
        /// Moments that were looked at.
        moments: u64,
        /// Those of them in which it could be called and was metered.
        available_moments: u64,
        /// Energy that it was called for upwards, in milliwatt-hours.
        up_milliwatt_hours: i64,
        /// Energy that it was called for downwards, in milliwatt-hours, as a magnitude.
        down_milliwatt_hours: i64,
        /// Sum over the moments of how far it was called away from its baseline, in milliwatts.
        asked_milliwatts: u64,
        /// Sum over the moments in which it was called of how far it was metered from what it was called for, in milliwatts.
        missed_milliwatts: u64,
    }
}

fn activation_is_consistent(a: &Activation) -> Result<(), SchemaError> {
    all_hold(&[
        (
            !a.participant.is_empty(),
            "An activation names its participant.",
        ),
        (
            a.available_moments <= a.moments,
            "Nobody is available in more moments than there are.",
        ),
        (
            a.up_milliwatt_hours >= 0 && a.down_milliwatt_hours >= 0,
            "The energies of an activation are magnitudes.",
        ),
    ])
}

record! {
    /// What was committed for a market interval and cannot be delivered any more.
    Infeasible where infeasible_is_consistent {
        /// Whose commitment: a device, or the utility for the exchange at the coupling.
        device: String,
        /// Number of the market interval.
        interval: u64,
        /// Committed energy in milliwatt-hours, positive into the bus.
        committed_milliwatt_hours: i64,
        /// What of it will be missing at least, signed as what should still flow.
        missing_milliwatt_hours: i64,
        /// What stands in the way.
        why: String,
    }
}

fn infeasible_is_consistent(i: &Infeasible) -> Result<(), SchemaError> {
    all_hold(&[
        (
            !i.device.is_empty(),
            "An infeasible commitment names its device.",
        ),
        (
            i.missing_milliwatt_hours != 0,
            "Of an infeasible commitment something is missing.",
        ),
    ])
}

record! {
    /// Creates energy credits; the amounts are in the particles.
    Mint {
        /// The meter reading that put up what is minted.
        reading: AtomId,
    }
}

record! {
    /// Destroys an asset; the amounts are in the particles.
    Burn {
        /// Why.
        reason: String,
    }
}

record! {
    /// Moves an asset; the amounts are in the particles.
    Transfer {
        /// What it is for.
        memo: String,
    }
}
