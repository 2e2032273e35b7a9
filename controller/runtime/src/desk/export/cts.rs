//! The market of a run in the words of OASIS Energy Interoperation Common Transactive Services (CTS) 1.0:
//! an order is a tender, a fill a transaction, what a meter says a delivery.
//!
//! The words are those of the specification; the shape of the document is ours, since CTS leaves the
//! encoding to its bindings. What stands where is in the table of `docs/market.md`.

use ledger_core::payload::{Payload, Side};
use serde_json::{Value, json};

use super::super::UTILITY;
use super::{MarketOfRun, When, eur};

/// Version of the shape of this document.
const SCHEMA: u32 = 1;

/// Who is on the other side of every transaction: all trade with the market.
const COUNTER_PARTY: &str = "market";

fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// A length of time as ISO 8601 writes it.
pub(super) fn duration(nanoseconds: i64) -> String {
    let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    match rest {
        0 => format!("PT{whole}S"),
        rest => format!("PT{whole}.{rest:09}S"),
    }
}

impl When {
    /// The name of the product that is traded.
    fn instrument(&self) -> String {
        format!("{}-{}", self.stage, self.index)
    }
}

impl MarketOfRun {
    /// The document.
    #[must_use]
    pub fn cts(&self) -> Value {
        let mut instruments: Vec<Value> = Vec::new();
        let (mut tenders, mut transactions) = (Vec::new(), Vec::new());
        let (mut deliveries, mut tickers) = (Vec::new(), Vec::new());
        let mut known = std::collections::BTreeSet::new();
        for (id, payload) in &self.records {
            let Some(when) = self.when_of(payload) else {
                continue;
            };
            if known.insert((when.stage, when.index)) {
                let begins = model::UtcTime::from_unix_nanos(when.begins_utc_ns);
                instruments.push(json!({
                    "instrumentId": when.instrument(),
                    "dtStart": begins.to_string(),
                    "duration": duration(when.interval.dt_ns),
                    "segment": when.stage,
                }));
            }
            match payload {
                Payload::Order(order) if self.protection.shows_orders() => {
                    let steps = order.steps.iter().map(|step| {
                        json!({
                            "price": step.price_millicents_per_kwh,
                            "quantity": self.protection.energy(step.quantity_milliwatt_hours),
                        })
                    });
                    tenders.push(json!({
                        "tenderId": id.to_string(),
                        "partyId": self.name(&order.agent),
                        "counterPartyId": COUNTER_PARTY,
                        "side": side(order.side),
                        "instrumentId": when.instrument(),
                        "priceQuantityCurve": steps.collect::<Vec<_>>(),
                    }));
                }
                Payload::Clearing(clearing) => {
                    for (n, fill) in clearing.fills.iter().enumerate() {
                        let shows = self.protection.shows_orders();
                        transactions.push(json!({
                            "transactionId": format!("{id}-{n}"),
                            "tenderId": shows.then(|| fill.order.to_string()),
                            "partyId": self.name(&fill.agent),
                            "counterPartyId": COUNTER_PARTY,
                            "side": self.sides.get(&fill.order).map(|of| side(*of)),
                            "instrumentId": when.instrument(),
                            "price": clearing.price_millicents_per_kwh,
                            "quantity": self.protection.energy(fill.quantity_milliwatt_hours),
                            "receivedEur": eur(self.protection.money(fill.amount.0)),
                        }));
                    }
                    tickers.push(json!({
                        "instrumentId": when.instrument(),
                        "marketMechanismType": clearing.mechanism,
                        "price": clearing.price_millicents_per_kwh,
                        "lowPrice": clearing.price_low_millicents_per_kwh,
                        "highPrice": clearing.price_high_millicents_per_kwh,
                        "quantity": self.protection.energy(clearing.quantity_milliwatt_hours),
                    }));
                }
                Payload::Trade(trade) => {
                    let parties = [
                        (&trade.buyer, &trade.seller, Side::Buy),
                        (&trade.seller, &trade.buyer, Side::Sell),
                    ];
                    for (party, other, of) in parties {
                        let worth = i128::from(trade.quantity_milliwatt_hours)
                            * i128::from(trade.price_millicents_per_kwh);
                        let received = if of == Side::Buy { -worth } else { worth };
                        transactions.push(json!({
                            "transactionId": format!("{id}-{}", side(of).to_lowercase()),
                            "tenderId": null,
                            "partyId": self.name(party),
                            "counterPartyId": self.name(other),
                            "side": side(of),
                            "instrumentId": when.instrument(),
                            "price": trade.price_millicents_per_kwh,
                            "quantity": self.protection.energy(trade.quantity_milliwatt_hours),
                            "receivedEur": eur(self.protection.money(received)),
                        }));
                    }
                }
                Payload::MeterReading(reading) => {
                    let energy = reading.energy_milliwatt_hours;
                    deliveries.push(json!({
                        "partyId": self.name(&reading.participant),
                        "instrumentId": when.instrument(),
                        "deliveredQuantity": energy.map(|mwh| self.protection.energy(mwh)),
                        "quality": reading.quality.name(),
                    }));
                }
                _ => {}
            }
        }
        let positions = self.positions();
        let positions = positions.rows.iter().map(|row| {
            let told = |n: usize| row[n].told().unwrap_or_default();
            json!({
                "partyId": told(5),
                "instrumentId": format!("{}-{}", told(1), told(0)),
                "position": told(6).parse::<i64>().ok(),
            })
        });
        let parity = self.rules.venue.parity;
        let quotes = [("SELL", parity.import), ("BUY", parity.export)];
        json!({
            "schema": SCHEMA,
            "names": "OASIS Energy Interoperation Common Transactive Services (CTS) 1.0",
            "market": {
                "resource": "ENERGY",
                "quantityUnit": "mWh",
                "priceUnit": "mc/kWh",
                "positiveQuantity": "into the bus, in positions and deliveries",
                "priceFloor": self.rules.venue.book.floor.0,
                "priceCap": self.rules.venue.book.cap.0,
                "marketMechanismType": self.rules.venue.mechanism,
            },
            "instruments": instruments,
            "quotes": quotes.map(|(side, price)| json!({
                "partyId": UTILITY, "side": side, "price": price.0,
            })),
            "tenders": tenders,
            "transactions": transactions,
            "tickers": tickers,
            "positions": positions.collect::<Vec<_>>(),
            "deliveries": deliveries,
        })
    }
}
