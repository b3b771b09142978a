//! The `slod` binary.

fn main() {}
