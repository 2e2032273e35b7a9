//! Files whose steps are taken over into a scenario.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use document::{Diagnostic, Document, Source, Spanned};

use crate::codes;

/// Files that one scenario may take over, counted each time that it does.
///
/// Chosen: far more than people keep apart; it ends what files that name each other twice over double.
const FILES_MAX: usize = 100;

/// The sources of all files that a document includes: each one behind those that it includes itself.
///
/// What is wrong with the naming of files becomes a fault of the document.
pub(super) fn sources(document: &Document) -> Vec<Arc<Source>> {
    let mut found = Found {
        sources: Vec::new(),
        faults: Vec::new(),
        open: vec![real(Path::new(&document.source().path))],
        count: 0,
    };
    found.add(document);
    document.adopt(found.faults);
    found.sources
}

struct Found {
    sources: Vec<Arc<Source>>,
    faults: Vec<Diagnostic>,
    /// The files that are being read, each of them included by the one before it.
    open: Vec<PathBuf>,
    count: usize,
}

impl Found {
    fn add(&mut self, document: &Document) {
        let here = Path::new(&document.source().path);
        let folder = here.parent().unwrap_or(Path::new("")).to_owned();
        for name in document.root().texts("include") {
            self.count += 1;
            let path = folder.join(&name.value);
            match self.read(&path) {
                Ok(included) => {
                    self.open.push(real(&path));
                    self.add(&included);
                    self.open.pop();
                    self.sources.push(Arc::clone(included.source()));
                    // Only what is wrong with the names in it was looked for.
                    self.faults.extend(included.into_faults());
                }
                Err(Refused::Names(why)) => tell(document, &name, why),
                // Told with its own place.
                Err(Refused::Is(fault)) => self.faults.push(*fault),
            }
        }
    }

    fn read(&self, path: &Path) -> Result<Document, Refused> {
        if self.count > FILES_MAX {
            return Err(Refused::Names(format!(
                "more than {FILES_MAX} files are included"
            )));
        }
        if self.open.contains(&real(path)) {
            return Err(Refused::Names(format!(
                "{} includes itself, at last here",
                path.display()
            )));
        }
        // A pipe or a device might never come to its end.
        if path.exists() && !path.is_file() {
            return Err(Refused::Names(format!("{} is no file", path.display())));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|e| Refused::Names(format!("{} cannot be read: {e}", path.display())))?;
        Document::parse(Source::new(path.display().to_string(), text)).map_err(Refused::Is)
    }
}

enum Refused {
    /// What names the file is wrong.
    Names(String),
    /// The file itself is.
    Is(Box<Diagnostic>),
}

fn tell(document: &Document, name: &Spanned<String>, why: String) {
    document.error(
        codes::BAD_INCLUDE,
        name.span.clone(),
        why,
        "",
        "name files with `setup`, `do` and `teardown`, relative to this one",
    );
}

/// A path by which a file is known again; one that is not there stays as it is.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
