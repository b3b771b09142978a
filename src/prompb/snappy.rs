//! Snappy with a bound: the length a body declares is checked before a byte is allocated for it.

use super::Error;

/// Decompresses a snappy block into `out`, whose content it replaces and whose space it reuses.
///
/// # Errors
/// When the body is no snappy block, or declares more than `bytes_max`.
pub fn decompress(body: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let declared = snap::raw::decompress_len(body).map_err(|error| Error::Snappy(error.to_string()))?;
    if declared > bytes_max {
        return Err(Error::TooLarge { declared, limit: bytes_max });
    }
    out.resize(declared, 0);
    let length =
        snap::raw::Decoder::new().decompress(body, out).map_err(|error| Error::Snappy(error.to_string()))?;
    out.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back() {
        let block = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        let mut out = b"something longer that was here before".to_vec();
        decompress(&block, 1_000, &mut out).unwrap();
        assert_eq!(out, b"hello hello hello");
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        // A varint that declares 4 GiB - 1.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let mut out = Vec::new();
        let refused = decompress(&bomb, 32 << 20, &mut out);
        assert_eq!(refused, Err(Error::TooLarge { declared: u32::MAX as usize, limit: 32 << 20 }));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn garbage_is_refused() {
        for body in [&b""[..], b"\xff\xff\xff\xff\xff\xff", b"\x05hell", b"plain text, not snappy"] {
            assert!(matches!(decompress(body, 1_000, &mut Vec::new()), Err(Error::Snappy(_))), "{body:?}");
        }
    }
}
