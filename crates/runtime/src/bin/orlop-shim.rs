//! The shim alone, for tests and measurements; `orlop` carries the same code as a subcommand.

fn main() {
    orlop_runtime::shim::main(std::env::args_os().skip(2))
}
