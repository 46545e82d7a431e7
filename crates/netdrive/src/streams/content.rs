//! What a message holds: its number, and bytes that depend on stream, number and place; of a short one as much as it has room for.

/// Number of the message, and whether it is one of those that end a run: 8 bytes each.
pub(super) const HEADER: usize = 16;

/// What the second half of the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Data,
    End,
}

const DATA: [u8; 8] = *b"data    ";
const END: [u8; 8] = *b"end     ";

/// Writes a header, or the beginning of one.
pub(super) fn head(message: &mut [u8], number: u64, mark: Mark) {
    for (to, from) in message.iter_mut().zip(header(number, mark)) {
        *to = from;
    }
}

/// The mark of a message that has this number; `None` if it is another. Only whole headers can say [`Mark::End`].
pub(super) fn read(message: &[u8], number: u64) -> Option<Mark> {
    let begins = |mark| message.iter().zip(header(number, mark)).all(|(got, wanted)| *got == wanted);
    if begins(Mark::Data) {
        Some(Mark::Data)
    } else if message.len() >= HEADER && begins(Mark::End) {
        Some(Mark::End)
    } else {
        None
    }
}

fn header(number: u64, mark: Mark) -> impl Iterator<Item = u8> {
    let mark = match mark {
        Mark::Data => DATA,
        Mark::End => END,
    };
    // The byte that changes first, first.
    number.to_le_bytes().into_iter().chain(mark)
}

/// Writes what follows the header.
pub(super) fn write(message: &mut [u8], pair: usize, number: u64) {
    if message.len() < HEADER {
        return;
    }
    let (words, rest) = message.as_chunks_mut();
    let end = value(pair, number, words.len()).to_ne_bytes();
    for (word, bytes) in words.iter_mut().enumerate().skip(HEADER / 8) {
        *bytes = value(pair, number, word).to_ne_bytes();
    }
    for (to, from) in rest.iter_mut().zip(end) {
        *to = from;
    }
}

/// How many bytes after the header are not what [`write`] wrote.
pub(super) fn wrong(message: &[u8], pair: usize, number: u64) -> u64 {
    if message.len() < HEADER {
        return 0;
    }
    let (words, rest) = message.as_chunks();
    let differ = |bytes: &[u8], word: usize| -> u64 {
        let right = value(pair, number, word).to_ne_bytes();
        bytes.iter().zip(right).map(|(got, wanted)| u64::from(*got != wanted)).sum()
    };
    let whole = words.iter().enumerate().skip(HEADER / 8);
    let wrong = whole
        .filter(|(word, bytes)| **bytes != value(pair, number, *word).to_ne_bytes())
        .map(|(word, bytes)| differ(bytes, word))
        .sum::<u64>();
    wrong + differ(rest, words.len())
}

/// Any mixing does in which neighbouring words, messages and streams differ: a chunk in a wrong place must show.
fn value(pair: usize, number: u64, word: usize) -> u64 {
    (word as u64)
        .wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add((pair as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
        .wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_written() {
        let mut message = [0; 24];
        head(&mut message, 7, Mark::End);
        assert_eq!((read(&message, 7), read(&message, 8)), (Some(Mark::End), None));
        assert_eq!(read(&message[..15], 7), None, "could be either");
        head(&mut message, u64::MAX, Mark::Data);
        assert_eq!(read(&message, u64::MAX), Some(Mark::Data));
        assert_eq!(read(&[0; 24], 0), None);
    }

    #[test]
    fn short_messages_have_as_much_of_a_header_as_there_is_room_for() {
        for length in 1..HEADER {
            let mut message = vec![0; length];
            head(&mut message, 258, Mark::Data);
            write(&mut message, 3, 258);
            assert_eq!((read(&message, 258), read(&message, 259)), (Some(Mark::Data), None), "{length}");
            assert_eq!(wrong(&message, 3, 258), 0);
            message[length - 1] ^= 1;
            assert_eq!(read(&message, 258), None, "{length}: every byte is looked at");
        }
    }

    #[test]
    fn each_wrong_byte_counts_and_a_shifted_message_is_wrong_throughout() {
        let mut message = vec![0; 4096];
        write(&mut message, 3, 9);
        assert_eq!(wrong(&message, 3, 9), 0);
        message[100] ^= 1;
        message[4095] ^= 0x80;
        assert_eq!(wrong(&message, 3, 9), 2);
        // Of random bytes one in 256 is right.
        assert!(wrong(&message, 3, 10) > 3900);
        assert!(wrong(&message, 4, 9) > 3900);
        message.rotate_left(8);
        assert!(wrong(&message, 3, 9) > 3900);

        let mut odd = vec![0; 29];
        write(&mut odd, 3, 9);
        assert_eq!(wrong(&odd, 3, 9), 0);
        odd[28] ^= 1;
        assert_eq!(wrong(&odd, 3, 9), 1, "the last, incomplete word");
    }
}
