//! Rendezvous hashing: every node draws a number for every key, and the highest one has it. A node that comes or goes changes no other's
//! number, so that it moves its own share and nothing else (Thaler and Ravishankar 1998; the weighted form: Schindelhauer and Schomaker
//! 2005, each node's number is `-weight / ln u` of its hash `u` in (0, 1), and a node has a key as often as its weight says).

use monoship_core::collect::Collect as _;
use monoship_core::name::Platform;
use monoship_core::sorted::Order as _;

use crate::Node;

/// A name's hash: the same on every machine and in every version, since caches are found by it.
pub(crate) fn hash(name: &str) -> u64 {
    // FNV-1a; `mix` spreads what it leaves in the lower bits.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64's last step (Steele, Lea and Flood 2014): each bit of the input changes half of the output's.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What a node draws for a key.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
pub(crate) fn score(node: u64, weight: u32, key: u64) -> f64 {
    let drawn = mix(mix(node) ^ key) >> 11;
    let unit = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / unit.ln()
}

/// The nodes that have these platforms in the order in which they are preferred for `key`, as places in `nodes`.
///
/// ```
/// use monoship_fleet::{Node, preferred};
///
/// let amd64 = || vec!["linux/amd64".parse().unwrap()];
/// let nodes = ["one", "two", "three"].map(|name| Node::new(name, amd64()));
/// let with_all = preferred(&nodes, &amd64(), "api");
/// let without_last = preferred(&nodes[..2], &amd64(), "api");
/// assert!(with_all.iter().filter(|at| **at != 2).eq(&without_last));
/// ```
#[must_use]
pub fn preferred(nodes: &[Node], platforms: &[Platform], key: &str) -> Vec<usize> {
    let key = hash(key);
    let able = (0..nodes.len()).filter(|at| nodes[*at].has(platforms));
    let mut scored: Vec<(f64, usize)> =
        able.map(|at| (score(hash(&nodes[at].builder), nodes[at].weight.get(), key), at)).into_vec();
    scored.order_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, at)| at).into_vec()
}
