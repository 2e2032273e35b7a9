//! Rigs as they are named on the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{DeviceIx, Point};
use runtime::rig::{Rig, RigDevice};

use crate::codes::usage;
use crate::problem::Problem;
use crate::terminal::Terminal;

/// Loads a rig; without a path, the demo rig that is inside the binary. Warnings are drawn.
///
/// # Errors
/// All faults of the rig.
pub fn load(path: Option<&Path>, terminal: &Terminal) -> Result<Arc<Rig>, Problem> {
    let rig = match path {
        Some(path) => runtime::rig::load(path),
        None => runtime::rig::load_text(Path::new(scenario::demo::RIG_PATH), scenario::demo::RIG),
    }?;
    if !terminal.is_quiet() {
        terminal.draw(&rig.warnings);
    }
    Ok(Arc::new(rig))
}

/// The path as it is shown and recorded.
pub fn shown(path: Option<&PathBuf>) -> String {
    path.map_or_else(
        || scenario::demo::RIG_PATH.to_owned(),
        |p| p.display().to_string(),
    )
}

/// The device of a name, or a suggestion.
///
/// # Errors
/// C005.
pub fn device(rig: &Rig, name: &str) -> Result<DeviceIx, Problem> {
    rig.device(name).ok_or_else(|| {
        let names: Vec<&str> = rig.devices.iter().map(|d| &*d.id).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has: {}", names.join(", ")),
        };
        Problem::usage(usage(
            "C005",
            format!("the rig {} has no device `{name}`", rig.source.path),
            &help,
        ))
    })
}

/// One of some points by name, or a suggestion.
///
/// # Errors
/// C005.
pub fn point(
    device: &RigDevice,
    name: &str,
    among: &[Point],
    does: &str,
) -> Result<Point, Problem> {
    among
        .iter()
        .copied()
        .find(|p| p.name() == name)
        .ok_or_else(|| {
            let names: Vec<&str> = among.iter().map(|p| p.name()).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => format!("it {does} nothing"),
                None => format!("it {does}: {}", names.join(", ")),
            };
            Problem::usage(usage(
                "C005",
                format!("`{}` ({}) {does} no `{name}`", device.id, device.profile.id),
                &help,
            ))
        })
}

/// The known word that is most like the one that was written, if any is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Similarity that makes a suggestion useful. Chosen: one slip in a word of four letters.
    const ALIKE: f64 = 0.7;
    known
        .into_iter()
        .map(|k| {
            (
                strsim::jaro_winkler(&word.to_lowercase(), &k.to_lowercase()),
                k,
            )
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, k)| k)
}
