use market::regulation::Beyond;

use super::*;
use crate::rig::Rig;

const LAB: &str = include_str!("../../../../../../rigs/virtual/lab.toml");
const MARKET: &str = include_str!("../../../../../../rigs/virtual/market.toml");
const TERMS: &str = "Who trades is metered.\n";
/// SHA3-256 of the terms, as `openssl dgst -sha3-256` prints it.
const DIGEST: &str = "538f8847748495a87d53e8a28ad9d933065da3f6629abd71f756efae476aa728";

/// The bench with a market and this section, beside a file with terms.
fn load(section: &str) -> Result<Rig, Vec<document::Diagnostic>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("terms.md"), TERMS).unwrap();
    let (_, market) = MARKET.split_once("[market]").unwrap();
    let text = format!("{LAB}\n[market]{market}\n[regulation]\n{section}\n");
    crate::rig::load_text(&folder.path().join("rig.toml"), &text)
}

fn codes(faults: &[document::Diagnostic]) -> Vec<&'static str> {
    faults.iter().map(|fault| fault.code).collect()
}

fn check(section: &str, expected: &[&str], words: &str) {
    let faults = load(section).expect_err("a fault");
    assert_eq!(codes(&faults), expected, "{section}: {faults:#?}");
    let told = faults[0].to_string();
    assert!(told.contains(words), "{section}: {told}");
    assert!(
        faults.iter().all(|fault| fault.place.is_some()),
        "{faults:?}"
    );
}

#[test]
fn each_fault_of_a_regulation_has_its_code_and_its_place() {
    // Import parity of the bench is 28572 mc/kWh, export parity 7350.
    check("price_cap_mc_per_kwh = 28571", &["R165"], "sell nothing");
    check("price_floor_mc_per_kwh = 7351", &["R165"], "buy nothing");
    check(
        "price_floor_mc_per_kwh = 40000\nprice_cap_mc_per_kwh = 40000",
        &["R165"],
        "not below",
    );
    check("price_cap_mc_per_kwh = 300001", &["D005"], "price_cap");
    check("beyond = \"ignore\"", &["D006"], "ignore");
    check("tarif = 5", &["D002"], "tarif");
    check("tariff = { import_mc = 5 }", &["D002"], "import_mc");
    check("tariff = { export_mc_per_kwh = -1 }", &["D005"], "export");
    check(
        "tax = { withdrawal_mc_per_kwh = 1.5 }",
        &["D003"],
        "withdrawal",
    );
    for (list, word) in [
        ("participants = [\"nobody\"]", "nobody"),
        ("kinds = [\"wind\"]", "wind"),
        ("devices = [\"pcc\"]", "pcc"),
    ] {
        check(&format!("eligible = {{ {list} }}"), &["R167"], word);
    }
    let contract = |name: &str, keys: &str| format!("contract.{name} = {{ id = \"7\", {keys} }}");
    let dates = "from = \"2026-01-01\", until = \"2027-01-01\"";
    check(&contract("nobody", dates), &["R167"], "nobody");
    check("contract.pv1 = { id = \"7\" }", &["D004", "D004"], "from");
    check(
        &contract("pv1", "from = \"2026-01-01\", until = \"2026-01-01\""),
        &["R168"],
        "ends before",
    );
    check(
        &contract("pv1", "from = \"1 May\", until = \"2026-01-01\""),
        &["R168"],
        "2026-11-22",
    );
    let accepting = |digest: &str| contract("pv1", &format!("{dates}, accepts = \"{digest}\""));
    check(&accepting(DIGEST), &["R168"], "names none");
    let with_terms = |rest: &str| format!("terms = \"terms.md\"\n{rest}");
    check(&with_terms(&accepting("abc")), &["R168"], "64 hexadecimal");
    check(&with_terms(&contract("pv1", dates)), &["D004"], "accepts");
    check("terms = \"elsewhere.md\"", &["R169"], "elsewhere.md");
    for (data, word) in [
        ("names = \"pseudonyms\"", "salt"),
        ("names = \"pseudonyms\", salt = \"too short\"", "guessed"),
        ("salt = \"0123456789abcdef\"", "as they are"),
        ("resolution = \"0Wh\"", "positive"),
    ] {
        check(&format!("data = {{ {data} }}"), &["R170"], word);
    }
}

#[test]
fn a_regulation_without_a_market_is_refused() {
    let text = format!("{LAB}\n[regulation]\nprice_cap_mc_per_kwh = 60000\n");
    let faults = crate::rig::load_text(std::path::Path::new("rig.toml"), &text).unwrap_err();
    assert_eq!(codes(&faults), ["R166"]);
}

#[test]
fn a_regulation_is_read_and_its_tariff_is_in_both_orders_of_the_utility() {
    let rig = load(&format!(
        "price_cap_mc_per_kwh = 60000\nbeyond = \"clip\"\nterms = \"terms.md\"\n\
         tariff = {{ import_mc_per_kwh = 1000, export_mc_per_kwh = 200 }}\n\
         surcharge = {{ injection_mc_per_kwh = 30 }}\n\
         eligible = {{ kinds = [\"flexible\"], devices = [\"pv1\"], participants = [\"ess1\"] }}\n\
         contract.pv1 = {{ id = \"7\", from = \"2026-01-01\", until = \"2027-01-01\", accepts = \"{DIGEST}\" }}\n\
         contract.ess1 = {{ id = \"8\", from = \"2026-01-01\", until = \"2027-01-01\", accepts = \"{}\" }}\n",
        DIGEST.replace('0', "1")
    ));
    let rig = rig.unwrap();
    assert_eq!(codes(&rig.warnings), ["R168"], "{:?}", rig.warnings);
    assert!(rig.warnings[0].to_string().contains("ess1"));
    let market = rig.market.unwrap();
    // (22000 + 6000 + 1000) / 0.98 rises, (8000 - 500 - 200) * 0.98 falls.
    let parity = market.tariff.parity().unwrap();
    assert_eq!(
        (parity.import, parity.export),
        (Price(29_592), Price(7_154))
    );
    let regulation = market.regulation.unwrap();
    assert_eq!(
        (regulation.floor, regulation.cap),
        (None, Some(Price(60_000)))
    );
    assert_eq!(regulation.beyond, Beyond::Clip);
    assert_eq!(regulation.surcharge.injection, Price(30));
    let eligible: Vec<String> = regulation.eligible.unwrap().into_iter().collect();
    assert_eq!(eligible, ["ess1", "plug1", "plug2", "pv1"]);
    assert_eq!(regulation.terms.as_deref(), Some(DIGEST));
    assert_eq!(regulation.contracts.unwrap().len(), 2);
}
