//! What is reduced, and whether it came out right.

/// What `rank` puts in element `index` of the `pass`-th run.
///
/// A small whole number, so that sums over thousands of ranks are exact in a float whatever their order.
fn value(rank: usize, index: usize, pass: u32) -> f32 {
    // Any mixing does in which neighbours, ranks and passes differ: a message in a wrong place must show.
    let mixed = (index as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((rank as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
        .wrapping_add(u64::from(pass).wrapping_mul(0x1656_67B1_9E37_79F9));
    let [byte, ..] = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_be_bytes();
    f32::from(byte)
}

/// Writes a rank's input.
pub(super) fn fill(data: &mut [f32], rank: usize, pass: u32) {
    for (index, element) in data.iter_mut().enumerate() {
        *element = value(rank, index, pass);
    }
}

/// How many elements are not the sum over all ranks.
pub(super) fn wrong(data: &[f32], world: usize, pass: u32) -> u64 {
    let right = |index: usize| (0..world).map(|rank| value(rank, index, pass)).sum::<f32>();
    // Written so that NaN is wrong.
    data.iter().enumerate().map(|(index, element)| u64::from(*element != right(index))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_sums_are_right_and_each_wrong_one_is_counted() {
        let mut sum = vec![0.0; 1000];
        for rank in 0..5 {
            let mut data = vec![0.0; 1000];
            fill(&mut data, rank, 3);
            sum.iter_mut().zip(&data).for_each(|(sum, part)| *sum += part);
        }
        assert_eq!(wrong(&sum, 5, 3), 0);
        sum[0] += 1.0;
        sum[999] = f32::NAN;
        assert_eq!(wrong(&sum, 5, 3), 2);
        // Another pass, another rank, a shift by a slot: nearly all is wrong.
        assert!(wrong(&sum, 5, 4) > 900);
        assert!(wrong(&sum, 4, 3) > 900);
        sum.rotate_left(16);
        assert!(wrong(&sum, 5, 3) > 900);
    }
}
