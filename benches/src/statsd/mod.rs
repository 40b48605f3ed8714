//! The statsd server beside a null receiver and etsy's server.

mod aggregate;
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

use crate::Error;
use crate::report::Bar;

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
pub fn run(args: &StatsdArgs) -> Result<(String, Vec<Bar>), Error> {
    let mut bars = Vec::new();
    let mut text = String::new();
    // Memory first, while this process has allocated nothing else.
    let parts: [(&str, &dyn Fn() -> Result<(String, Vec<Bar>), Error>); 3] = [
        (memory::ABOUT, &|| memory::run(&memory::MemoryArgs::default())),
        (cpu::ABOUT, &|| cpu::run(&args.cpu)),
        (loss::ABOUT, &|| loss::run(&loss::LossArgs::default())),
    ];
    for (about, measure) in parts {
        let (table, measured) = measure()?;
        text.push_str(&format!("{about}\n\n{table}\n"));
        bars.extend(measured);
    }
    Ok((text, bars))
}
