//! The Graphite language and API: what an answer over HTTP takes, beside graphite-web's evaluator alone.

mod data;
mod names;
mod targets;
mod web;

use crate::Measured;

/// How much is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct GraphiteArgs {
    /// Rounds; statlined answers each question three times a round
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Names in the index, and as many series with tags
    #[arg(long, default_value_t = 1_000_000)]
    names: usize,
    /// Leave out what is asked of the index
    #[arg(long)]
    no_names: bool,
    /// Leave out the targets
    #[arg(long)]
    no_targets: bool,
}

impl Default for GraphiteArgs {
    fn default() -> Self {
        Self { rounds: 7, names: 1_000_000, no_names: false, no_targets: false }
    }
}

/// Measures everything; the text of its section, and the bars.
///
/// # Errors
/// When statlined or graphite-web does not start, does not answer, or they answer differently.
pub fn run(args: &GraphiteArgs) -> Measured {
    let (mut text, mut bars) = (String::new(), Vec::new());
    if !args.no_targets {
        let (table, measured) = targets::run(args.rounds)?;
        text.push_str(&format!("{}\n\n{table}\n", targets::ABOUT));
        bars.extend(measured);
    }
    if !args.no_names {
        let (table, measured) = names::run(args.names, args.rounds)?;
        text.push_str(&format!("{}\n\n{table}\n", names::ABOUT));
        bars.extend(measured);
    }
    Ok((text, bars))
}
