//! Telling now and then which names are sent most: etsy's `keyFlush`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::Instant;

use chrono::Local;
use statline_statsd::State;

use crate::config::KeyFlush;

/// When the names were last told.
#[derive(Debug)]
pub struct Frequent {
    config: KeyFlush,
    told: Instant,
}

impl Frequent {
    /// Tells nothing before an interval has passed.
    pub fn new(config: KeyFlush) -> Self {
        Self { config, told: Instant::now() }
    }

    /// Tells the names of the time since the last one, when it is time to.
    pub fn tell(&mut self, state: &mut State) {
        let interval = self.config.interval.get();
        if interval.is_zero() || self.told.elapsed() < interval {
            return;
        }
        self.told = Instant::now();
        let now = Local::now().to_rfc2822();
        let mut text = String::new();
        for (name, lines) in state.take_frequent(self.config.percent) {
            text.push_str(&format!("{now} count={lines} key={name}\n"));
        }
        if let Err(error) = self.write(&text) {
            tracing::error!(path = %self.config.log.display(), %error, "the frequent names cannot be written to statsd.key_flush.log");
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if self.config.log.as_os_str().is_empty() {
            return io::stdout().lock().write_all(text.as_bytes());
        }
        OpenOptions::new().create(true).append(true).open(&self.config.log)?.write_all(text.as_bytes())
    }
}
