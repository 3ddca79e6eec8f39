//! What may be typed after `trimkv-trace heads`.

use std::path::PathBuf;

use clap::Args;

/// `trimkv-trace heads`.
#[derive(Debug, Args)]
pub struct HeadsArgs {
    /// The trace's directory; of several, what their heads have in common
    #[arg(required = true)]
    pub trace: Vec<PathBuf>,
    /// Count roles by layer instead; of several traces, over all of them
    #[arg(long)]
    pub by_layer: bool,
    /// Print JSON instead of a table
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV instead of a table
    #[arg(long)]
    pub csv: bool,
}
