use super::*;
use crate::book::BookRules;
use crate::chance::Chance;
use crate::interval::Interval;
use crate::order::Order;

fn provider(chance: &mut Chance, index: usize) -> Provider {
    let least = chance.within(-10, 10);
    Provider {
        agent: format!("p{index}").into(),
        energy: (Mwh(least), Mwh(least + chance.within(0, 40))),
        energy_price: Price(chance.within(-5, 50)),
        up_max: Mwh(chance.within(0, 20)),
        up_price: Price(chance.within(0, 9)),
        down_max: Mwh(chance.within(0, 20)),
        down_price: Price(chance.within(0, 9)),
    }
}

/// What a provider gains at the prices, by an award.
fn gain(provider: &Provider, award: (i64, i64, i64), prices: [Price; 3]) -> i128 {
    let asked = [
        provider.energy_price,
        provider.up_price,
        provider.down_price,
    ];
    let each = [award.0, award.1, award.2]
        .into_iter()
        .zip(prices.into_iter().zip(asked));
    each.map(|(energy, (price, asked))| i128::from(price.0 - asked.0) * i128::from(energy))
        .sum()
}

#[test]
fn random_needs_are_met_in_whole_numbers_and_nobody_would_rather_do_something_else() {
    let mut met = 0;
    for seed in 0..400 {
        let mut chance = Chance::seeded(seed);
        let count = chance.within(1, 5) as usize;
        let providers: Vec<Provider> = (0..count).map(|i| provider(&mut chance, i)).collect();
        let need = Need {
            energy: Mwh(chance.within(-5, 60)),
            up: Mwh(chance.within(0, 25)),
            down: Mwh(chance.within(0, 15)),
        };
        let found = match cooptimise(&providers, need) {
            Ok(found) => found,
            Err(ReserveError::Program(LpError::Infeasible)) => continue,
            Err(other) => panic!("seed {seed}: {other}"),
        };
        met += 1;
        let total = |of: fn(&Award) -> Mwh| found.awards.iter().map(|a| of(a).0).sum::<i64>();
        assert_eq!(total(|a| a.energy), need.energy.0, "seed {seed}");
        assert!(total(|a| a.up) >= need.up.0 && total(|a| a.down) >= need.down.0);
        // At these prices an award is the best that its provider could have.
        let prices = [found.energy_price, found.up_price, found.down_price];
        for (provider, award) in providers.iter().zip(&found.awards) {
            let own = gain(provider, (award.energy.0, award.up.0, award.down.0), prices);
            for energy in provider.energy.0.0..=provider.energy.1.0 {
                let up = provider.up_max.0.min(provider.energy.1.0 - energy);
                let down = provider.down_max.0.min(energy - provider.energy.0.0);
                for other in [
                    (energy, 0, 0),
                    (energy, up, 0),
                    (energy, 0, down),
                    (energy, up, down),
                ] {
                    assert!(
                        gain(provider, other, prices) <= own,
                        "seed {seed}: {other:?} {award:?}"
                    );
                }
            }
        }
    }
    assert!(met > 100, "{met}");
}

#[test]
fn a_replica_accepts_the_certificate_and_none_that_was_changed() {
    let mut chance = Chance::seeded(9);
    let providers: Vec<Provider> = (0..4).map(|i| provider(&mut chance, i)).collect();
    let need = Need {
        energy: Mwh(30),
        up: Mwh(8),
        down: Mwh(4),
    };
    let found = cooptimise(&providers, need).unwrap();
    let again = accept(&providers, need, found.certificate.clone());
    assert_eq!(again.as_ref(), Ok(&found));
    let other = Need { up: Mwh(9), ..need };
    assert!(accept(&providers, other, found.certificate.clone()).is_err());
}

#[test]
fn forty_providers_are_no_trouble() {
    let mut chance = Chance::seeded(3);
    let providers: Vec<Provider> = (0..40).map(|i| provider(&mut chance, i)).collect();
    let least: i64 = providers.iter().map(|p| p.energy.0.0).sum();
    let need = Need {
        energy: Mwh(least + 300),
        up: Mwh(80),
        down: Mwh(80),
    };
    assert!(cooptimise(&providers, need).is_ok());
}

#[test]
fn capacity_alone_is_bought_at_the_price_of_the_last_one_needed() {
    let orders = [("a", 500, 300), ("b", 100, 200), ("c", 500, 100)];
    let orders = orders.map(|(name, price, quantity)| {
        Order::single(name.into(), Side::Sell, Price(price), Mwh(quantity))
    });
    let interval = Interval::new(0, 0, 1).unwrap();
    let book = Book::new(interval, &BookRules::unbounded(), orders.into()).unwrap();
    let found = procure(&book, MwhTotal(400)).unwrap().unwrap();
    let awards: Vec<_> = found
        .awards
        .iter()
        .map(|(a, q)| (a.as_str(), q.0))
        .collect();
    assert_eq!(
        (found.price, awards),
        (Price(500), vec![("a", 150), ("b", 200), ("c", 50)])
    );
    assert_eq!(procure(&book, MwhTotal(0)), Ok(None));
    assert_eq!(procure(&book, MwhTotal(601)).unwrap_err().code(), "M146");
}

#[test]
fn a_provider_that_contradicts_itself_is_named() {
    let mut chance = Chance::seeded(1);
    let honest = provider(&mut chance, 0);
    let need = Need {
        energy: Mwh(1),
        up: Mwh(0),
        down: Mwh(0),
    };
    for wrong in [
        Provider {
            energy: (Mwh(2), Mwh(1)),
            ..honest.clone()
        },
        Provider {
            up_max: Mwh(-1),
            ..honest.clone()
        },
    ] {
        assert_eq!(cooptimise(&[wrong], need).unwrap_err().code(), "M144");
    }
    let many = vec![honest; PROVIDERS_MAX + 1];
    assert_eq!(cooptimise(&many, need).unwrap_err().code(), "M145");
}
