//! Codes of a deflate block, by how often each symbol occurs.

/// Gives each symbol that occurs a code's length, none longer than `longest`, so that all together take the fewest bits or
/// nearly so. There must be at least two such symbols, and no more than 2 to the power of `longest`.
pub fn lengths(counts: &[u32], longest: usize, lengths: &mut [u8]) {
    lengths.fill(0);
    // Ordered by how often they occur; the symbol in the low bits.
    let mut nodes = [0_u64; 288];
    let mut used = 0;
    for (symbol, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        nodes[used] = u64::from(*count) << 16 | symbol as u64;
        used += 1;
    }
    let leaves = &mut nodes[..used];
    leaves.sort_unstable();
    let mut at_depth = depths(leaves, longest);
    shorten(&mut at_depth, longest);
    // The rarest have the longest codes.
    let mut leaves = leaves.iter();
    for length in (1..=longest).rev() {
        for leaf in leaves.by_ref().take(at_depth[length] as usize) {
            lengths[(*leaf & 0xffff) as usize] = length as u8;
        }
    }
}

/// How many leaves of the best tree lie at each depth; those too deep are counted at `longest`.
fn depths(leaves: &[u64], longest: usize) -> [u32; 16] {
    let used = leaves.len();
    // Inner nodes come about in the order of their weights, so two queues give the next lightest.
    let mut weights = [0_u32; 288];
    let mut above = [0_u16; 2 * 288];
    let (mut leaf, mut inner) = (0, 0);
    for made in 0..used.saturating_sub(1) {
        let mut take = || {
            let is_leaf = leaf < used && (inner >= made || (leaves[leaf] >> 16) as u32 <= weights[inner]);
            if is_leaf {
                leaf += 1;
                (leaf - 1, (leaves[leaf - 1] >> 16) as u32)
            } else {
                inner += 1;
                (used + inner - 1, weights[inner - 1])
            }
        };
        let (first, second) = (take(), take());
        weights[made] = first.1 + second.1;
        above[first.0] = made as u16;
        above[second.0] = made as u16;
    }
    let mut at_depth = [0; 16];
    let mut depth = [0_u8; 288];
    for node in (0..2 * used - 2).rev() {
        let deep = depth[usize::from(above[node])].saturating_add(1);
        match node.checked_sub(used) {
            Some(inner) => depth[inner] = deep,
            None => at_depth[usize::from(deep).min(longest)] += 1,
        }
    }
    at_depth
}

/// Makes a code of these again once leaves were lifted to `longest`: leaves that lie higher go down a step, each with one of
/// the deepest beside it.
fn shorten(at_depth: &mut [u32; 16], longest: usize) {
    let taken: u32 = (1..=longest).map(|depth| at_depth[depth] << (longest - depth)).sum();
    for _ in 0..taken.saturating_sub(1 << longest) {
        let Some(depth) = (1..longest).rev().find(|depth| at_depth[*depth] > 0) else { return };
        at_depth[longest] -= 1;
        at_depth[depth] -= 1;
        at_depth[depth + 1] += 2;
    }
}

/// The codes for these lengths, with the bit that is written first lowest.
pub fn codes(lengths: &[u8], codes: &mut [u16]) {
    let mut next = [0_u16; 17];
    for length in lengths.iter().filter(|length| **length > 0) {
        next[usize::from(*length) + 1] += 1;
    }
    for length in 1..16 {
        next[length] = (next[length] + next[length - 1]) << 1;
    }
    // `next[n]` counted those of length n - 1; doubled step by step it is the first code of length n.
    for (length, code) in lengths.iter().zip(codes) {
        if *length > 0 {
            let at = &mut next[usize::from(*length)];
            *code = at.reverse_bits() >> (16 - *length);
            *at += 1;
        }
    }
}
