//! What every refusal of this crate can say about itself.
//!
//! Not responsible for printing: the command line joins code, place and help
//! into its own layout.

/// A refusal with a stable code, the place it is about, and what to do.
pub trait Coded: std::error::Error {
    /// Stable code, `M` and three digits; never reused for another meaning.
    fn code(&self) -> &'static str;

    /// What the refusal is about: an order, an agent, a field.
    fn place(&self) -> String;

    /// What the reader can do about it.
    fn help(&self) -> String;
}

/// More about each code, in the order of the codes.
pub const CODES: &[(&str, &str)] = &[
    (
        "M001",
        "An interval needs a positive length, and its end must still be a 64-bit \
         nanosecond count.",
    ),
    (
        "M010",
        "The rules of a book say which prices are admissible. Floor and cap must be \
         multiples of the tick, or no order at the bounds could exist; magnitudes above \
         2^62 mc/kWh would leave exact arithmetic.",
    ),
    (
        "M011",
        "A price must be a multiple of the tick between floor and cap. A participant \
         rounds in its own favour: bids down, offers up.",
    ),
    (
        "M012",
        "Every step of an order trades a positive energy. The side says the direction, \
         not the sign.",
    ),
    (
        "M013",
        "A curve has at least one step, at most as many as the rules allow, and runs one \
         way: bid prices fall, offer prices rise, each price once. Its energy fits 64 \
         bits.",
    ),
    (
        "M014",
        "An agent has one curve per side and interval. Of several, the one with the \
         lowest rank stays.",
    ),
    (
        "M015",
        "Energy at the margin is shared in proportion to what was ordered, so ordering \
         more than one can exchange would pay. The registered capability bounds it.",
    ),
    (
        "M016",
        "The book checks capabilities and knows none for this agent. Unknown is not \
         unlimited.",
    ),
    (
        "M017",
        "One side of a book holds at most 2^64 - 1 mWh, the bound within which sharing at \
         the margin is exact in 128 bits.",
    ),
    (
        "M020",
        "The payments of a clearing must sum to exactly zero. The mechanism is at fault, \
         or the record was changed.",
    ),
    (
        "M021",
        "Bought, sold and stated energy of a clearing must be equal.",
    ),
    (
        "M022",
        "A fill must be within an order of the same agent and side.",
    ),
    (
        "M023",
        "Nobody may pay more than it bid or receive less than it asked.",
    ),
    (
        "M024",
        "At a uniform price, every order strictly better than the price must be served in \
         full.",
    ),
    (
        "M025",
        "The welfare a clearing states must be that of its fills at the orders' own \
         prices.",
    ),
    (
        "M026",
        "A payment must follow from the uniform price, or from the pairs of a pay-as-bid \
         auction.",
    ),
    (
        "M027",
        "Energy bought and exported must be equal to energy sold and imported. The mechanism \
         is at fault.",
    ),
    (
        "M028",
        "A fill of an outcome must be within an order of the same agent and side. The \
         mechanism is at fault.",
    ),
    (
        "M030",
        "The name is none of the known mechanisms. Names are part of the record, so that \
         a replay uses the same rule.",
    ),
    (
        "M031",
        "McAfee's auction and the strongly budget-balanced one trade one lot per trader. Lots \
         of different sizes would let a trader gain by splitting or by a false price.",
    ),
    (
        "M032",
        "A pool shares what its members save against the utility grid, so it needs the two \
         prices of that grid.",
    ),
    (
        "M033",
        "An amount left 128 bits. Energies and prices that people have do not come near.",
    ),
    (
        "M034",
        "A rule in which everybody speaks with everybody takes time with the square of the \
         traders, so it takes only so many.",
    ),
    (
        "M035",
        "Devices order what they need, not lots of one size. McAfee's auction and the strongly \
         budget-balanced one clear books of lots, offline.",
    ),
    (
        "M036",
        "A pool that leaves the difference to the utility grid needs a coupling that carries \
         it: more than the utility can take or give, as in an island, cannot be cleared.",
    ),
    (
        "M037",
        "Orders for an interval are taken until its gate, a stated time before it begins. \
         What comes later would have seen what others did.",
    ),
    (
        "M038",
        "Only participants whose strategy in the rig is `external` order from outside; the \
         others have an agent that orders for them.",
    ),
    (
        "M039",
        "Orders are taken for a bounded number of intervals ahead, so that nobody fills the \
         memory of others.",
    ),
    (
        "M040",
        "A loss of a million parts per million leaves nothing of an import, so it has no \
         parity price.",
    ),
    (
        "M041",
        "If export earned more than import costs, buying and selling back would make \
         money from nothing.",
    ),
    ("M042", "A parity price beyond 2^62 mc/kWh is a wrong unit."),
    ("M043", "A contract is between two: nobody sells to itself."),
    (
        "M044",
        "A contract delivers a positive energy in each interval from its first to its last.",
    ),
    (
        "M045",
        "Orders within the day are taken where the rig has `[market.intraday]`.",
    ),
    (
        "M046",
        "What one has of an interval by earlier trades and an order within the day are \
         together no more than its device can give or take.",
    ),
    (
        "M047",
        "There is nothing to take back: no order of that side rests in the book.",
    ),
    (
        "M048",
        "A late reading corrects an interval that is settled, of the last 96.",
    ),
    (
        "M049",
        "Only what was metered when an interval was settled can be corrected in it.",
    ),
    (
        "M050",
        "A battery's declaration must leave a state of charge it may hold, efficiencies \
         above zero, and a gap between buying and selling that covers the wear of a round \
         trip.",
    ),
    (
        "M051",
        "A vehicle states a positive capacity, power and slack, shares of a whole, and how \
         steeply its price rises as time runs out.",
    ),
    (
        "M052",
        "A valid reading stands: a second word for the same energy would be a dispute, not a \
         late reading. What was missing or estimated is replaced once a valid one comes.",
    ),
    (
        "M053",
        "A late reading has an energy; that a meter says nothing is known already.",
    ),
    (
        "M054",
        "An order from outside is for the day-ahead stage of a market that trades nothing ahead. Order for real time, or add `[market.day_ahead]` to the rig.",
    ),
    (
        "M055",
        "The rig's `[regulation]` bounds prices and moves what is beyond them, `beyond = \
         \"clip\"`: a bid above the cap counts as one at the cap, an offer below the floor as \
         one at the floor. Whoever ordered is no worse off for it. A bid below the floor or an \
         offer above the cap is refused with M011.",
    ),
    (
        "M056",
        "The rig's `[regulation.eligible]` says who may take part, by name, kind or device. \
         Who may not is metered and pays its imbalance as before, and trades nothing.",
    ),
    (
        "M057",
        "Where a rig has `[regulation.contract]`, everybody but the utility grid needs a \
         participation contract that holds throughout the interval.",
    ),
    (
        "M058",
        "A participation contract accepts terms by their digest. When the terms change, so \
         does the digest, and who has not accepted the new ones trades nothing until then.",
    ),
    (
        "M060",
        "The power that delivers the energy within the interval does not fit 64-bit \
         milliwatts.",
    ),
    (
        "M061",
        "Positive is into the bus, for a setpoint as for a reading. Before a device trades, where \
         the rig has `sign_check_percent`, it is asked for a little more and a little less, and its \
         meter has to go with it; what takes no setpoint must not say the opposite of what its \
         kind does. A wrong sign would turn a sale into a purchase.",
    ),
    (
        "M062",
        "A device whose meter does not move when its setpoint does is off, held by somebody, or \
         another one's. It is tried again every half minute.",
    ),
    (
        "M063",
        "The sign of a device is tried out when the bench is armed and at the utility, and the \
         device answers and is neither empty nor full. Until then it trades nothing.",
    ),
    (
        "M070",
        "A meter needs a positive longest gap, and a coverage for estimated readings not \
         above the one for valid readings.",
    ),
    (
        "M071",
        "Samples of one meter must come in the order of their instants.",
    ),
    (
        "M072",
        "A sample above one gigawatt is a wrong register or a wrong scale.",
    ),
    (
        "M080",
        "Who traded must be metered. A reading may be missing, but it must be said to be: \
         unknown is never zero.",
    ),
    (
        "M081",
        "The meter at the point of common coupling is given apart; among the participants \
         it would count twice.",
    ),
    (
        "M082",
        "Somebody deviated, nothing cleared, there is no utility grid to set a price, and \
         no last valid price is given.",
    ),
    (
        "M083",
        "An amount left 128 bits, which no real meter and price can cause.",
    ),
    (
        "M084",
        "The sum over all accounts must be exactly zero. It is not, so the clearing that \
         was to be settled is not one.",
    ),
    (
        "M090",
        "The offers in the needed direction do not cover the deviation.",
    ),
    ("M091", "A deviation or its amount left 128 bits."),
    ("M100", "The document is not JSON."),
    (
        "M101",
        "The document is JSON of another shape than the form needs.",
    ),
    (
        "M102",
        "Results are told by id, so every order of a document needs its own.",
    ),
    (
        "M110",
        "A continuous book keeps a queue per price, so its prices are bounded in number: \
         at most 2^18 levels, rising, on a positive tick.",
    ),
    (
        "M111",
        "The limit of a tender must be one of the prices of the book.",
    ),
    (
        "M112",
        "A tender is for a positive energy; the side says the direction.",
    ),
    (
        "M113",
        "The book holds as many resting orders as it can number, which is 2^32 - 1.",
    ),
    (
        "M120",
        "A feeder is a tree: each line leads from a node to one of a lower number, and has a \
         capacity and a fee that are not negative.",
    ),
    (
        "M121",
        "A feeder is cleared with one book per node, the root's first.",
    ),
    (
        "M122",
        "A result must meet the conditions under which no other has more welfare. It does \
         not, so the clearing is at fault or the record was changed.",
    ),
    (
        "M130",
        "A marginal loss of half or more is no line one trades over; check resistance, power \
         and voltage.",
    ),
    (
        "M140",
        "Nothing keeps all the limits at once: more is needed than can be done.",
    ),
    ("M141", "Something has a negative cost and no limit."),
    (
        "M142",
        "Exact pivots of this program leave 128 bits, which needs far larger coefficients \
         than a market has.",
    ),
    (
        "M143",
        "A certificate holds a solution and the prices of its limits. It must keep the \
         limits and cost what the limits are worth; this one does not.",
    ),
    (
        "M144",
        "A provider of reserve states a least and a most energy, in that order, and \
         reserves that are not negative.",
    ),
    (
        "M145",
        "Energy and reserve together are one program, whose time grows with the square of \
         the providers; with books of orders, of those whose steps neither gain nor lose.",
    ),
    (
        "M146",
        "The offers of capacity do not cover what is needed.",
    ),
    (
        "M147",
        "What reserve costs holds what its provider loses by not trading energy, at the one \
         price of energy. A rule that has another price for everybody has none to lose.",
    ),
    (
        "M150",
        "A penalty is set from shares of a whole and from energies and a spread that are not \
         negative.",
    ),
    (
        "M151",
        "Who orders must have an account that covers what the order could cost.",
    ),
    (
        "M152",
        "Who has broken its commitments again and again may not order for some time.",
    ),
    (
        "M153",
        "Who has broken its commitments several times may order only a part of what it could \
         exchange.",
    ),
    (
        "M154",
        "An order holds what it could cost at worst: its own price, the imbalance of all its \
         energy, and the penalty. The deposit does not cover that.",
    ),
];

/// More about a code; `None` when this crate never gives it.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, more)| *more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_the_crate_gives_is_explained_and_no_other() {
        let sources = [
            include_str!("interval.rs"),
            include_str!("contract.rs"),
            include_str!("venue/intraday.rs"),
            include_str!("venue/correction.rs"),
            include_str!("book.rs"),
            include_str!("clearing.rs"),
            include_str!("outcome.rs"),
            include_str!("mechanism.rs"),
            include_str!("auction.rs"),
            include_str!("mechanism/refusal.rs"),
            include_str!("utility.rs"),
            include_str!("agent/battery.rs"),
            include_str!("agent/electric_vehicle.rs"),
            include_str!("schedule.rs"),
            include_str!("sign.rs"),
            include_str!("meter.rs"),
            include_str!("regulation.rs"),
            include_str!("settlement.rs"),
            include_str!("balancing.rs"),
            include_str!("continuous/tender.rs"),
            include_str!("feeder.rs"),
            include_str!("losses.rs"),
            include_str!("cooptimised.rs"),
            include_str!("lp.rs"),
            include_str!("reserve.rs"),
            include_str!("penalty.rs"),
            include_str!("collateral.rs"),
            include_str!("counter.rs"),
            include_str!("offline.rs"),
        ];
        let is_code = |word: &&str| {
            word.len() == 4 && word.starts_with('M') && word[1..].parse::<u16>().is_ok()
        };
        let given: BTreeSet<&str> = sources
            .iter()
            .flat_map(|source| source.split('"'))
            .filter(is_code)
            .collect();
        let explained: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(explained, given.into_iter().collect::<Vec<_>>());
        assert!(explain("M084").is_some_and(|more| more.contains("exactly zero")));
        assert_eq!(explain("M999"), None);
    }
}
