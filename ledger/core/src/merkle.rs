//! The Merkle tree over a node's entries, of the shape of RFC 6962 section 2.1.
//!
//! Leaves are hashed with prefix byte 00 and inner nodes with 01, each under
//! its own tag. The tree gives an incremental root, a proof that an entry is
//! included under a head, and a proof that one head extends another. The
//! verification functions follow RFC 9162 sections 2.1.3.2 and 2.1.4.2 and check
//! the length of a path against index and size.

use crate::hash::{Digest32, Tag, UniverseId, tagged};

/// Hash of a leaf with these bytes.
pub fn leaf_hash(universe: &UniverseId, bytes: &[u8]) -> Digest32 {
    tagged(Tag::Leaf, universe, &[&[0], bytes])
}

fn inner_hash(universe: &UniverseId, left: &Digest32, right: &Digest32) -> Digest32 {
    tagged(Tag::Inner, universe, &[&[1], left, right])
}

/// The root of the empty tree.
pub fn empty_root(universe: &UniverseId) -> Digest32 {
    tagged(Tag::Leaf, universe, &[])
}

/// The right edge of a growing tree: enough to append and to give the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    universe: UniverseId,
    size: u64,
    /// Roots of the perfect subtrees, one per set bit of `size`, largest first.
    peaks: Vec<Digest32>,
}

impl Frontier {
    /// The empty tree.
    pub fn new(universe: UniverseId) -> Frontier {
        Frontier {
            universe,
            size: 0,
            peaks: vec![],
        }
    }

    /// The tree of `size` leaves with these peaks, as [`Frontier::peaks`] gave
    /// them; `None` when a tree of that size has another number of them.
    pub fn of_peaks(universe: UniverseId, size: u64, peaks: Vec<Digest32>) -> Option<Frontier> {
        (peaks.len() == size.count_ones() as usize).then_some(Frontier {
            universe,
            size,
            peaks,
        })
    }

    /// Roots of the perfect subtrees, the largest first.
    pub fn peaks(&self) -> &[Digest32] {
        &self.peaks
    }

    /// Appends a leaf, given by its hash.
    pub fn push(&mut self, leaf: Digest32) {
        let mut hash = leaf;
        // As many equal subtrees merge as the old size has trailing ones.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = inner_hash(&self.universe, &left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Digest32 {
        let mut from_the_right = self.peaks.iter().rev();
        let Some(last) = from_the_right.next() else {
            return empty_root(&self.universe);
        };
        from_the_right.fold(*last, |right, left| {
            inner_hash(&self.universe, left, &right)
        })
    }
}

/// The largest power of two below `n`, for `n` above 1.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// The root of the tree over `leaves` (leaf hashes).
pub fn root(universe: &UniverseId, leaves: &[Digest32]) -> Digest32 {
    match leaves {
        [] => empty_root(universe),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            inner_hash(universe, &root(universe, left), &root(universe, right))
        }
    }
}

/// The path that proves leaf `index` under the root of `leaves`; `None` when
/// there is no such leaf.
pub fn inclusion_proof(
    universe: &UniverseId,
    leaves: &[Digest32],
    index: usize,
) -> Option<Vec<Digest32>> {
    match leaves {
        _ if index >= leaves.len() => None,
        [_] => Some(vec![]),
        _ => {
            let at = split(leaves.len());
            let (left, right) = leaves.split_at(at);
            let (mut path, sibling) = match index < at {
                true => (
                    inclusion_proof(universe, left, index)?,
                    root(universe, right),
                ),
                false => (
                    inclusion_proof(universe, right, index - at)?,
                    root(universe, left),
                ),
            };
            path.push(sibling);
            Some(path)
        }
    }
}

/// Whether `path` proves that `leaf` is number `index` (from 0) of `size`
/// leaves under `root`.
pub fn verify_inclusion(
    universe: &UniverseId,
    leaf: &Digest32,
    index: u64,
    size: u64,
    path: &[Digest32],
    root: &Digest32,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = inner_hash(universe, sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = inner_hash(universe, &hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// The proof that the first `old_size` of `leaves` are what an older head
/// covered; `None` when `old_size` is zero or larger than the tree.
pub fn consistency_proof(
    universe: &UniverseId,
    leaves: &[Digest32],
    old_size: usize,
) -> Option<Vec<Digest32>> {
    fn subproof(u: &UniverseId, leaves: &[Digest32], m: usize, is_whole: bool) -> Vec<Digest32> {
        if m == leaves.len() {
            return if is_whole {
                vec![]
            } else {
                vec![root(u, leaves)]
            };
        }
        let at = split(leaves.len());
        let (left, right) = leaves.split_at(at);
        let (mut path, sibling) = match m <= at {
            true => (subproof(u, left, m, is_whole), root(u, right)),
            false => (subproof(u, right, m - at, false), root(u, left)),
        };
        path.push(sibling);
        path
    }
    let is_inside = (1..=leaves.len()).contains(&old_size);
    is_inside.then(|| subproof(universe, leaves, old_size, true))
}

/// Whether `path` proves that the tree of `size` leaves under `root` begins
/// with the tree of `old_size` leaves under `old_root`.
pub fn verify_consistency(
    universe: &UniverseId,
    (old_size, old_root): (u64, &Digest32),
    (size, root): (u64, &Digest32),
    path: &[Digest32],
) -> bool {
    if old_size == 0 || old_size > size {
        return false;
    }
    if old_size == size {
        return path.is_empty() && old_root == root;
    }
    // A perfect old tree is itself the first node of the path.
    let with_old: Vec<Digest32>;
    let path = if old_size.is_power_of_two() {
        with_old = std::iter::once(*old_root)
            .chain(path.iter().copied())
            .collect();
        &with_old
    } else {
        path
    };
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = inner_hash(universe, sibling, &old);
            new = inner_hash(universe, sibling, &new);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = inner_hash(universe, &new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old == *old_root && new == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: UniverseId = UniverseId([5; 32]);

    fn leaves(n: u8) -> Vec<Digest32> {
        (0..n).map(|i| leaf_hash(&U, &[i])).collect()
    }

    #[test]
    fn the_incremental_root_equals_the_recursive_definition() {
        let mut frontier = Frontier::new(U);
        for n in 0..70 {
            assert_eq!(
                (frontier.size(), frontier.root()),
                (n.into(), root(&U, &leaves(n)))
            );
            frontier.push(leaf_hash(&U, &[n]));
        }
    }

    #[test]
    fn a_leaf_is_not_an_inner_node() {
        let (a, b) = (leaf_hash(&U, b"a"), leaf_hash(&U, b"b"));
        let forged = [&[1][..], &a, &b].concat();
        assert_ne!(leaf_hash(&U, &forged), root(&U, &[a, b]));
        assert_ne!(leaf_hash(&U, &forged[1..]), root(&U, &[a, b]));
        assert_ne!(leaf_hash(&U, b""), empty_root(&U));
    }

    #[test]
    fn inclusion_proves_each_leaf_at_its_own_index_and_size_only() {
        for n in 1..20 {
            let leaves = leaves(n);
            let root = root(&U, &leaves);
            for i in 0..n {
                let path = inclusion_proof(&U, &leaves, i.into()).unwrap();
                let holds = |leaf: &Digest32, index: u8, size: u8, path: &[Digest32]| {
                    verify_inclusion(&U, leaf, index.into(), size.into(), path, &root)
                };
                let leaf = &leaves[usize::from(i)];
                assert!(holds(leaf, i, n, &path), "{i} of {n}");
                for other in (0..n).filter(|o| *o != i) {
                    assert!(!holds(leaf, other, n, &path), "{i} as {other} of {n}");
                }
                assert!(!holds(&leaf_hash(&U, b"x"), i, n, &path));
                let mut long = path.clone();
                long.push([0; 32]);
                assert!(!holds(leaf, i, n, &long));
                assert!(path.is_empty() || !holds(leaf, i, n, &path[1..]));
                for k in 0..path.len() {
                    let mut bad = path.clone();
                    bad[k][7] ^= 1;
                    assert!(!holds(leaf, i, n, &bad));
                }
            }
            assert_eq!(inclusion_proof(&U, &leaves, n.into()), None);
        }
    }

    #[test]
    fn consistency_holds_between_prefixes_and_fails_for_a_rewritten_history() {
        for n in 1..20u8 {
            let new = leaves(n);
            let new_root = root(&U, &new);
            for m in 1..=n {
                let path = consistency_proof(&U, &new, m.into()).unwrap();
                let old_root = root(&U, &new[..usize::from(m)]);
                let holds = |old: &Digest32, new: &Digest32, path: &[Digest32]| {
                    verify_consistency(&U, (m.into(), old), (n.into(), new), path)
                };
                assert!(holds(&old_root, &new_root, &path), "{m} of {n}");
                let mut rewritten = new.clone();
                rewritten[usize::from(m) - 1][0] ^= 1;
                let rewritten_root = root(&U, &rewritten);
                let forged = consistency_proof(&U, &rewritten, m.into()).unwrap();
                assert!(!holds(&old_root, &rewritten_root, &forged), "{m} of {n}");
                assert!(!holds(&old_root, &rewritten_root, &path), "{m} of {n}");
                for k in 0..path.len() {
                    let mut bad = path.clone();
                    bad[k][3] ^= 1;
                    assert!(!holds(&old_root, &new_root, &bad));
                }
            }
            assert_eq!(consistency_proof(&U, &new, 0), None);
            assert_eq!(consistency_proof(&U, &new, usize::from(n) + 1), None);
        }
    }
}
