//! The `slod` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    slod::cli::main()
}
