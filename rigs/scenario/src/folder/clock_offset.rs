//! How far the machine's clock is from its reference, as chrony says it.
//!
//! Nobody else is asked: systemd-timesyncd and ptp4l tell no program how far off the clock is. What is
//! not known is not zero.

use std::process::{Command, Stdio};

/// By how much the clock is ahead of its reference, in milliseconds; `None` = nobody here knows.
#[must_use]
pub fn measured_ms() -> Option<f64> {
    let told = Command::new("chronyc")
        .args(["-n", "tracking"])
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|told| told.status.success())?;
    parse(&String::from_utf8_lossy(&told.stdout))
}

/// Reads what `chronyc tracking` prints. Source: chronyc(1), tracking: "System time" is how far the
/// clock is slow or fast of NTP time, and "Leap status" whether it is kept at all.
fn parse(text: &str) -> Option<f64> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (of, value) = line.split_once(':')?;
            (of.trim() == name).then(|| value.trim())
        })
    };
    if value("Leap status")? == "Not synchronised" {
        return None;
    }
    let words: Vec<&str> = value("System time")?.split_whitespace().collect();
    let [number, "seconds", way, "of", "NTP", "time"] = words.as_slice() else {
        return None;
    };
    let sign = match *way {
        "fast" => 1.0,
        "slow" => -1.0,
        _ => return None,
    };
    let seconds: f64 = number.parse().ok()?;
    seconds.is_finite().then_some(sign * seconds * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_kept_tells_its_offset_and_one_that_is_not_tells_none() {
        let told = |system: &str, leap: &str| {
            parse(&format!(
                "Reference ID    : CB00710F (192.0.2.15)\nStratum         : 3\n\
                 System time     : {system}\nLast offset     : -0.000006747 seconds\n\
                 Leap status     : {leap}\n"
            ))
        };
        let rows = [
            ("0.000500000 seconds slow of NTP time", "Normal", Some(-0.5)),
            ("0.002000000 seconds fast of NTP time", "Normal", Some(2.0)),
            (
                "0.000000000 seconds slow of NTP time",
                "Not synchronised",
                None,
            ),
            ("soon", "Normal", None),
        ];
        for (system, leap, offset) in rows {
            assert_eq!(told(system, leap), offset, "{system}");
        }
        assert_eq!(parse(""), None);
    }
}
