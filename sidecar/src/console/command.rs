//! What a line to the console means.

use statline_statsd::Family;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `help`
    Help,
    /// `stats`
    Stats,
    /// `counters`, `timers`, `gauges` or `sets`
    Dump(Family),
    /// `delcounters` and its like, with names and patterns
    Remove(Family, Vec<String>),
    /// `refusals`
    Refusals,
    /// `offenders`
    Offenders,
    /// `health`, `health up` or `health down`
    Health(Option<bool>),
    /// `config`
    Config,
    /// `quit`
    Quit,
}

/// What `help` answers with, as etsy's console words it.
pub const HELP: &str = "Commands: stats, counters, timers, gauges, sets, delcounters, deltimers, delgauges, delsets, refusals, \
                        offenders, health, config, quit\n\n";

impl Command {
    /// Reads a line. `None` for anything that is no command.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let command = words.next()?;
        let remove = |family| Self::Remove(family, words.clone().map(str::to_owned).collect());
        Some(match command {
            "help" => Self::Help,
            "stats" => Self::Stats,
            "counters" => Self::Dump(Family::Counter),
            "timers" => Self::Dump(Family::Timer),
            "gauges" => Self::Dump(Family::Gauge),
            "sets" => Self::Dump(Family::Set),
            "delcounters" => remove(Family::Counter),
            "deltimers" => remove(Family::Timer),
            "delgauges" => remove(Family::Gauge),
            "delsets" => remove(Family::Set),
            "refusals" => Self::Refusals,
            "offenders" => Self::Offenders,
            // Etsy's console answers anything else after `health` with the state that holds.
            "health" => Self::Health(match words.next().map(str::to_ascii_lowercase).as_deref() {
                Some("up") => Some(true),
                Some("down") => Some(false),
                _ => None,
            }),
            "config" => Self::Config,
            "quit" => Self::Quit,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_and_its_words() {
        for (line, command) in [
            ("help", Some(Command::Help)),
            ("  counters \r", Some(Command::Dump(Family::Counter))),
            ("delgauges a.b  c.*", Some(Command::Remove(Family::Gauge, vec!["a.b".to_owned(), "c.*".to_owned()]))),
            ("deltimers", Some(Command::Remove(Family::Timer, vec![]))),
            ("health", Some(Command::Health(None))),
            ("health DOWN", Some(Command::Health(Some(false)))),
            ("health sideways", Some(Command::Health(None))),
            ("Help", None),
            ("", None),
            ("counters()", None),
        ] {
            assert_eq!(Command::parse(line), command, "{line:?}");
        }
        for word in HELP.trim_start_matches("Commands: ").trim().split(", ") {
            assert!(Command::parse(word).is_some(), "{word}");
        }
    }
}
