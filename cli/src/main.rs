//! The program `plan`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backplan_cli::main()
}
