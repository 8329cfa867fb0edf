//! The simulated Asana as a program of its own.

use clap::Parser;

/// A simulated Asana: API 1.0 over HTTP, with a control API under /_sim
#[derive(Parser)]
#[command(name = "asana-simulator", version)]
struct Cli {
    #[command(flatten)]
    args: asana_simulator::program::Args,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    asana_simulator::program::run(Cli::parse().args).await
}
