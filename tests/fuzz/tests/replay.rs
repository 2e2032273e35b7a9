//! The corpus, what once broke something, and seeded mutations of both, through every target.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Mutations of each target's corpus.
/// Chosen: a second or two for all targets in a debug build; the fuzzer itself goes deeper.
const MUTATIONS: usize = 1500;

/// Largest input that is mutated, as a file of a person may be long.
/// Chosen: 8 KiB, twice the largest seed.
const BYTES_MAX: usize = 8192;

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| {
            let name = entry.expect("the entry can be read").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = here("corpus").join(target);
    names_in(&folder)
        .iter()
        .map(|name| std::fs::read(folder.join(name)).expect("the seed can be read"))
        .collect()
}

#[test]
fn every_target_has_a_corpus_and_a_program_of_the_fuzzer_and_nothing_else_has() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    assert_eq!(names_in(&here("corpus")), targets);
    let programs: BTreeSet<String> = names_in(&here("fuzz/fuzz_targets"))
        .iter()
        .map(|file| file.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(programs, targets);
    let manifest = std::fs::read_to_string(here("fuzz/Cargo.toml")).expect("it is there");
    for target in TARGETS {
        let line = format!("name = \"{}\"", target.name);
        assert!(manifest.contains(&line), "no program {}", target.name);
        assert!(
            !seeds(target.name).is_empty(),
            "no seed for {}",
            target.name
        );
    }
}

#[test]
fn the_corpus_breaks_no_promise() {
    for target in TARGETS {
        for seed in seeds(target.name) {
            (target.run)(&seed);
        }
    }
}

#[test]
fn mutations_of_the_corpus_break_no_promise() {
    for (number, target) in TARGETS.iter().enumerate() {
        let seeds = seeds(target.name);
        let mut chance = ChaCha8Rng::seed_from_u64(number as u64);
        for _ in 0..MUTATIONS {
            let bytes = mutated(&seeds, &mut chance);
            let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(
                outcome.is_ok(),
                "{} breaks on {bytes:?}; keep it under corpus/{}",
                target.name,
                target.name
            );
        }
    }
}

fn below(chance: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(chance.next_u32()).unwrap_or(0) % bound.max(1)
}

/// A seed, or two of them joined, with a few bytes flipped, dropped, doubled or made extreme.
fn mutated(seeds: &[Vec<u8>], chance: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds[below(chance, seeds.len())].clone();
    if below(chance, 4) == 0 {
        let other = &seeds[below(chance, seeds.len())];
        let keep = below(chance, bytes.len() + 1);
        bytes.truncate(keep);
        bytes.extend(&other[below(chance, other.len() + 1)..]);
    }
    for _ in 0..=below(chance, 8) {
        let at = below(chance, bytes.len());
        match below(chance, 6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(chance, 8),
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => bytes.insert(at, chance.next_u32() as u8),
            3 if !bytes.is_empty() => bytes[at] = [0, 0x7F, 0x80, 0xFF][below(chance, 4)],
            4 => {
                let end = at + below(chance, bytes.len() - at + 1);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(bytes.len() - below(chance, bytes.len() / 4 + 1)),
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}
