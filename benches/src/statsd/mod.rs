//! The statsd server beside a null receiver and etsy's server.

pub mod aggregate;
pub mod cpu;
mod datagrams;
pub mod loss;
pub mod memory;
pub mod micro;
pub mod null;
mod peer;
mod schedule;
mod sender;
mod traffic;

use crate::Measured;

/// How the whole part is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct StatsdArgs {
    #[command(flatten)]
    cpu: cpu::CpuArgs,
}

/// Measures everything; the text of its section, and the bars.
///
/// # Errors
/// When a server does not start or ends early.
pub fn run(args: &StatsdArgs) -> Measured {
    // Memory first, while this process has allocated nothing else.
    let memory = memory::run(&memory::MemoryArgs::default())?;
    let cpu = cpu::run(&args.cpu)?;
    let loss = loss::run(&loss::LossArgs::default())?;
    let (mut text, mut bars) = (String::new(), Vec::new());
    for (about, (table, measured)) in [(memory::ABOUT, memory), (cpu::ABOUT, cpu), (loss::ABOUT, loss)] {
        text.push_str(&format!("{about}\n\n{table}\n"));
        bars.extend(measured);
    }
    Ok((text, bars))
}
