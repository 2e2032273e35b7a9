//! Which registers go into one request: pure.
//!
//! Responsible for grouping points into reads and fields into writes. A point is
//! never split, and its scale register is in the same read as its value, because
//! some inverters change the scale at run time. It is not responsible for finding
//! addresses (see `sunspec`) nor for what to do when a read fails (see `device`).

use profile::modbus::{Table, WriteFunction};

/// Most registers in one read (function 3 and 4).
/// Source: Modbus Application Protocol V1.1b3, 6.3 and 6.4.
pub const READ_REGISTERS_MAX: u16 = 125;

/// Most registers in one write (function 16).
/// Source: Modbus Application Protocol V1.1b3, 6.12.
pub const WRITE_REGISTERS_MAX: usize = 123;

/// Least share of the registers of a read that belong to a point, as one in so many.
/// Chosen: below a quarter two requests are cheaper than the registers that nobody wants, and
/// more devices have holes there that they refuse.
const USED_LEAST: u32 = 4;

/// A point at its absolute place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The caller's number of the point.
    pub point: usize,
    /// Its table.
    pub table: Table,
    /// First register (or bit), zero-based.
    pub address: u16,
    /// Number of registers (or bits).
    pub registers: u16,
    /// Address of its scale register, in the same table.
    pub scale: Option<u16>,
}

impl Place {
    /// First register and the one after the last, scale register included.
    fn span(&self) -> (u32, u32) {
        let start = u32::from(self.address);
        let end = start + u32::from(self.registers);
        match self.scale {
            Some(scale) => (start.min(scale.into()), end.max(u32::from(scale) + 1)),
            None => (start, end),
        }
    }
}

/// One read request and the points in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Table.
    pub table: Table,
    /// First register, zero-based.
    pub address: u16,
    /// Number of registers.
    pub count: u16,
    /// The points in it, in address order.
    pub places: Vec<Place>,
}

impl Block {
    /// The block without holes at its ends that reads just these places.
    fn around(places: Vec<Place>) -> Option<Self> {
        let first = places.first()?;
        let (table, mut span) = (first.table, first.span());
        for place in &places[1..] {
            let (start, end) = place.span();
            span = (span.0.min(start), span.1.max(end));
        }
        Some(Self {
            table,
            address: u16::try_from(span.0).ok()?,
            count: u16::try_from(span.1 - span.0).ok()?,
            places,
        })
    }

    /// Two blocks with half of the points each; `None` when there is but one point.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        if self.places.len() < 2 {
            return None;
        }
        let (low, high) = self.places.split_at(self.places.len() / 2);
        Some((Self::around(low.to_vec())?, Self::around(high.to_vec())?))
    }
}

/// Groups places into reads; also gives back the points that fit into no read at all.
#[must_use]
pub fn group(mut places: Vec<Place>, regs_max: u16, gap_max: u16) -> (Vec<Block>, Vec<usize>) {
    let regs_max = u32::from(regs_max.clamp(1, READ_REGISTERS_MAX));
    places.sort_by_key(|p| (p.table, p.span(), p.point));
    let mut blocks: Vec<Block> = Vec::new();
    let mut misfits = Vec::new();
    let mut open: Vec<Place> = Vec::new();
    let mut span = (0, 0);
    let mut used = 0;
    for place in places {
        let (start, end) = place.span();
        if end - start > regs_max || end > u32::from(u16::MAX) + 1 || place.registers == 0 {
            misfits.push(place.point);
            continue;
        }
        // A point and its scale register may be far apart: that is no reason to part points.
        let wanted = u32::from(place.registers) + u32::from(place.scale.is_some());
        let used_after = (used + wanted).max(end - start);
        let joins = open.first().is_some_and(|first| {
            let count = end.max(span.1) - span.0;
            first.table == place.table
                && start <= span.1 + u32::from(gap_max)
                && count <= regs_max
                && count <= used_after * USED_LEAST
        });
        if joins {
            span.1 = end.max(span.1);
            used = used_after;
        } else {
            blocks.extend(Block::around(std::mem::take(&mut open)));
            span = (start, end);
            used = wanted.max(end - start);
        }
        open.push(place);
    }
    blocks.extend(Block::around(open));
    (blocks, misfits)
}

/// One write request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Function 16: contiguous holding registers.
    Registers {
        /// First register, zero-based.
        address: u16,
        /// What is written.
        words: Vec<u16>,
    },
    /// Function 6: one holding register.
    Register {
        /// The register, zero-based.
        address: u16,
        /// What is written.
        word: u16,
    },
    /// Function 5: one coil.
    Coil {
        /// The coil, zero-based.
        address: u16,
        /// Whether it is set.
        on: bool,
    },
}

/// Joins fields, in the order given, into contiguous writes, or into one for each register
/// where the device takes no more.
///
/// Fields of input registers and discrete inputs cannot be written: the profile's
/// validation refuses them, here they are left out.
#[must_use]
pub fn writes(fields: &[(Table, u16, &[u16])], function: WriteFunction) -> Vec<Write> {
    let mut joined: Vec<Write> = Vec::new();
    for (table, address, words) in fields {
        match table {
            Table::Coil => joined.push(Write::Coil {
                address: *address,
                on: words.iter().any(|w| *w != 0),
            }),
            Table::Holding if function == WriteFunction::Single => {
                joined.extend(words.iter().zip(*address..).map(|(word, address)| {
                    Write::Register {
                        address,
                        word: *word,
                    }
                }));
            }
            Table::Holding => match joined.last_mut() {
                Some(Write::Registers {
                    address: first,
                    words: before,
                }) if usize::from(*first) + before.len() == usize::from(*address)
                    && before.len() + words.len() <= WRITE_REGISTERS_MAX =>
                {
                    before.extend_from_slice(words);
                }
                _ => joined.push(Write::Registers {
                    address: *address,
                    words: words.to_vec(),
                }),
            },
            Table::Input | Table::Discrete => {}
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(point: usize, address: u16, registers: u16, scale: Option<u16>) -> Place {
        Place {
            point,
            table: Table::Holding,
            address,
            registers,
            scale,
        }
    }

    fn check(places: &[Place], regs_max: u16, gap_max: u16, expected: &[(u16, u16)]) {
        let (blocks, _) = group(places.to_vec(), regs_max, gap_max);
        let spans: Vec<_> = blocks.iter().map(|b| (b.address, b.count)).collect();
        assert_eq!(spans, expected);
    }

    #[test]
    fn reads_are_merged_over_small_gaps_and_never_beyond_the_limit() {
        let rows = [at(0, 0, 2, None), at(1, 2, 2, None), at(2, 10, 2, None)];
        check(&rows, 125, 6, &[(0, 12)]);
        check(&rows, 125, 5, &[(0, 4), (10, 2)]);
        check(&rows, 11, 6, &[(0, 4), (10, 2)]);
        check(&rows, 3, 6, &[(0, 2), (2, 2), (10, 2)]);
    }

    #[test]
    fn a_read_is_used_to_a_quarter_at_least() {
        // Two registers in eight are worth one request, two in nine are not.
        check(&[at(0, 0, 1, None), at(1, 7, 1, None)], 125, 50, &[(0, 8)]);
        check(
            &[at(0, 0, 1, None), at(1, 8, 1, None)],
            125,
            50,
            &[(0, 1), (8, 1)],
        );
        // A scale register far away brings its neighbours along.
        check(
            &[at(0, 0, 1, Some(40)), at(1, 20, 1, Some(40))],
            125,
            50,
            &[(0, 41)],
        );
    }

    #[test]
    fn a_scale_register_is_in_the_same_read_as_its_value() {
        check(
            &[at(0, 14, 1, Some(15)), at(1, 2, 1, Some(6))],
            125,
            4,
            &[(2, 5), (14, 2)],
        );
        // A scale before the value counts as well, and a span wider than the gap is one point.
        check(&[at(0, 100, 2, Some(3))], 125, 0, &[(3, 99)]);
    }

    #[test]
    fn a_point_too_wide_for_any_read_is_named() {
        let (blocks, misfits) = group(vec![at(7, 0, 2, Some(200)), at(8, 65_535, 2, None)], 125, 0);
        assert_eq!((blocks.len(), misfits), (0, vec![7, 8]));
    }

    #[test]
    fn tables_do_not_share_a_read() {
        let input = Place {
            table: Table::Input,
            ..at(1, 2, 2, None)
        };
        let (blocks, _) = group(vec![at(0, 0, 2, None), input], 125, 10);
        assert_eq!(blocks.len(), 2);
    }

    #[test]
    fn neighbouring_fields_go_in_one_request_unless_the_device_takes_one_register_only() {
        let fields: [(Table, u16, &[u16]); 4] = [
            (Table::Holding, 5, &[1]),
            (Table::Holding, 6, &[2, 3]),
            (Table::Holding, 9, &[4]),
            (Table::Coil, 10, &[1]),
        ];
        let alone = writes(&fields[..2], WriteFunction::Single);
        let register = |address, word| Write::Register { address, word };
        assert_eq!(alone, [register(5, 1), register(6, 2), register(7, 3)]);
        let joined = writes(&fields, WriteFunction::Multiple);
        assert_eq!(
            joined,
            [
                Write::Registers {
                    address: 5,
                    words: vec![1, 2, 3]
                },
                Write::Registers {
                    address: 9,
                    words: vec![4]
                },
                Write::Coil {
                    address: 10,
                    on: true
                },
            ]
        );
    }

    proptest! {
        #[test]
        fn every_point_is_read_whole_exactly_once(
            raw in prop::collection::vec((any::<u16>(), 1..5_u16, prop::option::of(0..200_u16)), 0..40),
            regs_max in 0..200_u16,
            gap_max in 0..50_u16,
        ) {
            let places: Vec<_> = raw
                .iter()
                .enumerate()
                .map(|(i, (a, n, s))| at(i, *a, *n, s.map(|s| a.saturating_add(s))))
                .collect();
            let (blocks, misfits) = group(places.clone(), regs_max, gap_max);
            let mut seen: Vec<_> = misfits;
            for block in &blocks {
                prop_assert!(block.count >= 1 && block.count <= regs_max.clamp(1, READ_REGISTERS_MAX));
                let (first, end) = (u32::from(block.address), u32::from(block.address) + u32::from(block.count));
                for place in &block.places {
                    let (start, stop) = place.span();
                    prop_assert!(first <= start && stop <= end);
                    seen.push(place.point);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..places.len()).collect::<Vec<_>>());
        }
    }
}
