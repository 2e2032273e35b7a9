//! SunSpec discovery: finding the chain of models in a device. Pure: answers go in, questions come out.
//!
//! Responsible for the walk and for turning (model, offset) into an absolute
//! address. It is not responsible for sending anything: `device` asks the
//! questions on the link and hands the answers over.
//!
//! Terms: a chain starts with the words "SunS", then models follow, each with an
//! ID and a length register before its `length` registers of data; ID 0xFFFF ends it.

/// Where a chain may start, in the order in which they are tried.
/// Source: SunSpec Device Information Model Specification, "Modbus map location".
pub const BASES: [u16; 3] = [40_000, 0, 50_000];

/// The words "SunS" that begin every chain. Source: as [`BASES`].
pub const MARKER: [u16; 2] = [0x5375, 0x6E53];

/// The ID that ends a chain. Source: as [`BASES`].
const END: u16 = 0xFFFF;

/// Most models that are walked.
/// Chosen: real devices have up to about 30; more means that the walk has lost its way.
pub const MODELS_MAX: usize = 64;

/// Most registers that are walked over.
/// Chosen: three times the largest chains known (models 7xx with curves), less than the address space.
pub const REGISTERS_MAX: u32 = 10_000;

/// A model in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its number.
    pub id: u16,
    /// Absolute address of its ID register.
    pub address: u16,
    /// Registers after the length register.
    pub length: u16,
}

/// The models of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Where "SunS" stands.
    pub base: u16,
    /// The models, in order.
    pub models: Vec<Model>,
    /// Address of the end marker, if it was reached.
    pub end: Option<u16>,
}

impl Chain {
    /// Absolute address of `registers` registers at an offset from a model's ID register.
    ///
    /// `None` when the model is not there or is shorter than that.
    #[must_use]
    pub fn resolve(&self, model: u16, offset: u16, registers: u16) -> Option<u16> {
        let found = self.models.iter().find(|m| m.id == model)?;
        let last = u32::from(offset) + u32::from(registers);
        if last > u32::from(found.length) + 2 {
            return None;
        }
        found.address.checked_add(offset)
    }

    /// The required models that are not there.
    #[must_use]
    pub fn missing(&self, required: &[u16]) -> Vec<u16> {
        let has = |id: &u16| self.models.iter().any(|m| m.id == *id);
        required.iter().copied().filter(|id| !has(id)).collect()
    }
}

/// A read of holding registers that discovery wants to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// First register.
    pub address: u16,
    /// Number of registers.
    pub count: u16,
}

/// What an answer has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on with the next question.
    Ask,
    /// The chain is known; a remark if it does not end as it should.
    Found(Chain, Option<String>),
    /// There is no chain.
    NotFound,
}

/// A walk over a device's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    bases_tried: usize,
    /// The chain so far and the address of the next model; `None` while looking for "SunS".
    chain: Option<(Chain, u32)>,
}

impl Walk {
    /// A walk that has not begun.
    #[must_use]
    pub fn start() -> Self {
        Self {
            bases_tried: 0,
            chain: None,
        }
    }

    /// What has to be read next.
    #[must_use]
    pub fn ask(&self) -> Ask {
        let address = match &self.chain {
            Some((_, next)) => u16::try_from(*next).unwrap_or(u16::MAX - 1),
            None => BASES[self.bases_tried.min(BASES.len() - 1)],
        };
        Ask { address, count: 2 }
    }

    /// Takes the two words that were asked for, or `None` when the device refused the address.
    #[must_use]
    pub fn take(&mut self, answer: Option<[u16; 2]>) -> Step {
        let Some((chain, next)) = &mut self.chain else {
            if answer == Some(MARKER) {
                let base = self.ask().address;
                let chain = Chain {
                    base,
                    models: Vec::new(),
                    end: None,
                };
                self.chain = Some((chain, u32::from(base) + 2));
                return Step::Ask;
            }
            self.bases_tried += 1;
            return if self.bases_tried < BASES.len() {
                Step::Ask
            } else {
                Step::NotFound
            };
        };
        let stop = |chain: &mut Chain, remark: String| Step::Found(chain.clone(), Some(remark));
        let Some([id, length]) = answer else {
            return stop(
                chain,
                format!("the model chain breaks off at {next}: the address is refused"),
            );
        };
        let at = u16::try_from(*next).unwrap_or(u16::MAX);
        if id == END {
            chain.end = Some(at);
            return Step::Found(chain.clone(), None);
        }
        let after = *next + 2 + u32::from(length);
        if id == 0 || length == 0 || after + 1 > u32::from(u16::MAX) {
            return stop(
                chain,
                format!(
                    "model {id} at {next} claims a length of {length}: the chain is not followed further"
                ),
            );
        }
        if after - u32::from(chain.base) > REGISTERS_MAX || chain.models.len() >= MODELS_MAX {
            return stop(
                chain,
                format!(
                    "the model chain has no end within {MODELS_MAX} models and {REGISTERS_MAX} registers"
                ),
            );
        }
        chain.models.push(Model {
            id,
            address: at,
            length,
        });
        *next = after;
        Step::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a device that holds `image` from `base` on and refuses everything else.
    fn walk(base: u16, image: &[u16]) -> (Step, usize) {
        let mut walk = Walk::start();
        for questions in 1.. {
            let ask = walk.ask();
            let word = |a: u16| image.get(usize::from(a.checked_sub(base)?)).copied();
            let answer = word(ask.address).zip(word(ask.address.saturating_add(1)));
            match walk.take(answer.map(|(a, b)| [a, b])) {
                Step::Ask => {}
                end => return (end, questions),
            }
        }
        unreachable!("the loop ends by return");
    }

    fn image(models: &[(u16, u16)]) -> Vec<u16> {
        let mut words = MARKER.to_vec();
        for (id, length) in models {
            words.extend([*id, *length]);
            words.extend(std::iter::repeat_n(7, usize::from(*length)));
        }
        words.extend([0xFFFF, 0]);
        words
    }

    #[test]
    fn a_chain_is_found_at_each_of_its_three_places() {
        for base in BASES {
            let (step, _) = walk(base, &image(&[(1, 66), (103, 50)]));
            let Step::Found(chain, None) = step else {
                panic!("{step:?}")
            };
            assert_eq!(chain.resolve(103, 14, 1), Some(base + 70 + 14));
            assert_eq!(chain.resolve(103, 51, 1), Some(base + 70 + 51));
            assert_eq!(chain.resolve(103, 52, 1), None, "beyond the model");
            assert_eq!(chain.resolve(120, 2, 1), None, "not there");
            assert_eq!(chain.missing(&[1, 103, 704]), [704]);
            assert_eq!(chain.end, Some(base + 122));
        }
    }

    #[test]
    fn models_of_other_lengths_and_of_makers_are_stepped_over() {
        // Model 1 without its filler, and a vendor's own model.
        let (step, questions) = walk(40_000, &image(&[(1, 65), (64_110, 37), (103, 50)]));
        let Step::Found(chain, None) = step else {
            panic!("{step:?}")
        };
        assert_eq!(questions, 1 + 4);
        assert_eq!(
            chain.resolve(103, 14, 1),
            Some(40_002 + 2 + 65 + 2 + 37 + 14)
        );
        assert_eq!(chain.resolve(1, 66, 1), Some(40_002 + 66));
        assert_eq!(chain.resolve(1, 67, 1), None, "the filler is not there");
    }

    #[test]
    fn a_device_without_a_chain_is_told_apart_after_three_questions() {
        assert_eq!(walk(7, &[1, 2, 3]), (Step::NotFound, 3));
    }

    #[test]
    fn a_chain_without_an_end_is_left_at_the_limits() {
        let endless: Vec<_> = (0..200).map(|i| (i + 1, 1)).collect();
        let Step::Found(chain, Some(_)) = walk(0, &image(&endless)).0 else {
            panic!("no remark")
        };
        assert_eq!(chain.models.len(), MODELS_MAX);
        let wide: Vec<_> = (0..6).map(|i| (i + 1, 3000)).collect();
        let Step::Found(chain, Some(_)) = walk(0, &image(&wide)).0 else {
            panic!("no remark")
        };
        assert_eq!(chain.models.len(), 3);
    }

    #[test]
    fn a_broken_chain_keeps_the_models_before_the_break() {
        for bad in [(5, 0), (0, 9)] {
            let (step, _) = walk(0, &image(&[(1, 66), bad]));
            let Step::Found(chain, Some(_)) = step else {
                panic!("{step:?}")
            };
            assert_eq!(chain.models.len(), 1);
        }
        let mut cut = image(&[(1, 66)]);
        cut.truncate(70);
        assert!(matches!(walk(0, &cut).0, Step::Found(chain, Some(_)) if chain.models.len() == 1));
    }
}
