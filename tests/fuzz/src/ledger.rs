//! What a ledger reads back: only the one canonical form is taken.

use ledger_core::{Entry, Universe, UniverseId, Value};
use ledger_proof::{Bundle, Expectation, verify};

/// Deterministic CBOR: what decodes encodes to the same bytes.
pub fn cbor(bytes: &[u8]) {
    if let Ok(value) = Value::decode(bytes) {
        assert_eq!(
            value.encode().as_deref(),
            Ok(bytes),
            "two encodings of one value"
        );
    }
}

/// A log entry: what is read back is written the same.
pub fn entry(bytes: &[u8]) {
    let universe = UniverseId::NONE;
    if let Ok(entry) = Entry::from_bytes(bytes, &universe) {
        let written = entry.to_bytes().ok();
        assert_eq!(written.as_deref(), Some(bytes), "two forms of one entry");
    }
}

/// A universe file in JSON and in canonical form.
pub fn universe(bytes: &[u8]) {
    let _ = Universe::from_json(&String::from_utf8_lossy(bytes));
    if let Ok(universe) = Universe::from_canonical(bytes) {
        let written = universe.canonical().ok();
        assert_eq!(written.as_deref(), Some(bytes), "two forms of one universe");
    }
}

/// A proof: what is read back is written the same, and whatever it holds gets a
/// verdict, also of a universe that it brings along itself.
pub fn proof(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::from_bytes(bytes) {
        let written = bundle.to_bytes().ok();
        assert_eq!(written.as_deref(), Some(bytes), "two forms of one proof");
        let report = verify(bytes, &Expectation::of(bundle.universe_id));
        let failure = report.first_failure();
        assert_eq!(report.is_ok(), failure.is_none(), "{report}");
    }
}
