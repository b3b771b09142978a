//! Bodies of remote-write 1.0, see `slod::testing::fuzz`.

#![no_main]

use slod::{prompb::Version, testing::fuzz};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    fuzz::remote_write(Version::V1, input);
});
