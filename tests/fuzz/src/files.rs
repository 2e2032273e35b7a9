//! Files that people write: whatever stands in them, there is an answer with a place.

use std::path::Path;

use document::Source;
use quantities::{ActivePower, parse_duration, parse_quantity, parse_range};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A device profile: either a profile or at least one fault.
pub fn profile(bytes: &[u8]) {
    if let Err(faults) = profile::Profile::parse(Source::new("fuzz.toml", text(bytes))) {
        assert!(!faults.is_empty(), "refused without a reason");
    }
}

/// A rig: either a rig or at least one fault.
pub fn rig(bytes: &[u8]) {
    // Nothing else is read from disk: a path beside a file that is not there.
    let path = Path::new("no-such-folder").join("fuzz.toml");
    if let Err(faults) = runtime::rig::load_text(&path, &text(bytes)) {
        assert!(!faults.is_empty(), "refused without a reason");
    }
}

/// A scenario: either scripts or at least one fault.
pub fn scenario(bytes: &[u8]) {
    if let Err(faults) = scenario::script::read(Source::new("fuzz.toml", text(bytes))) {
        assert!(!faults.is_empty(), "refused without a reason");
    }
}

/// Texts with units: a quantity is a number, a range is in order, a duration is not absurd.
pub fn quantity(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(power) = parse_quantity::<ActivePower>(&text) {
        assert!(power.as_watts().is_finite(), "{text:?}");
    }
    if let Ok(range) = parse_range::<ActivePower>(&text) {
        assert!(range.lower() <= range.upper(), "{text:?}");
    }
    let _ = parse_duration(&text);
}

/// Longest book that is cleared here, in bytes: a mechanism may take time with many orders.
const BOOK_BYTES_MAX: usize = 4096;

/// A market book in JSON: cleared or refused.
pub fn market_book(bytes: &[u8]) {
    if bytes.len() <= BOOK_BYTES_MAX {
        let _ = market::offline::clear(&text(bytes), None);
    }
}

/// A recorded course: rows whose times rise, with numbers only, or at least one fault.
pub fn course(bytes: &[u8]) {
    let source = Source::new("fuzz.csv", text(bytes));
    match emulator::course::Course::parse(&source) {
        Ok(course) => {
            let end = course.length();
            for (_, value) in course.at(end).into_iter().flatten() {
                assert!(value.is_finite(), "{value}");
            }
        }
        Err(faults) => assert!(!faults.is_empty(), "refused without a reason"),
    }
}
