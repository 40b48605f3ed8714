//! Carbon's files of rules: which names are taken, what they are called, and what is made of them together.
//!
//! * [`list`] reads `whitelist.conf` and `blacklist.conf`
//! * [`rewrite`] reads `rewrite-rules.conf`
//! * [`aggregation`] reads `aggregation-rules.conf`
//! * [`regex`] is what all of them are written with
//!
//! A file is bounded, and an error names it and the line.

pub mod aggregation;
pub mod list;
pub mod regex;
pub mod rewrite;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use aggregation::AggregationRule;
use list::NameList;
use rewrite::RewriteRules;

use crate::config;

/// The most bytes that a file may have.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The most rules that a file may have.
const MAX_RULES: usize = 10_000;

/// Everything that the files say. Without a file there are no rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The only names that are taken, when there are any.
    pub whitelist: Arc<NameList>,
    /// Names that are not taken.
    pub blacklist: Arc<NameList>,
    /// What names become.
    pub rewrite: Arc<RewriteRules>,
    /// What is made of points of several series.
    pub aggregation: Arc<Vec<AggregationRule>>,
}

/// One of the four files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleFile {
    /// `whitelist.conf`
    Whitelist,
    /// `blacklist.conf`
    Blacklist,
    /// `rewrite-rules.conf`
    Rewrite,
    /// `aggregation-rules.conf`
    Aggregation,
}

impl RuleFile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Whitelist, Self::Blacklist, Self::Rewrite, Self::Aggregation];

    /// The key of the configuration that names it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Whitelist => "carbon.whitelist",
            Self::Blacklist => "carbon.blacklist",
            Self::Rewrite => "carbon.rewrite_rules",
            Self::Aggregation => "carbon.aggregation_rules",
        }
    }

    /// Where it is; `None` when the configuration names none.
    pub fn path(self, config: &config::Carbon) -> Option<&Path> {
        let path = match self {
            Self::Whitelist => &config.whitelist,
            Self::Blacklist => &config.blacklist,
            Self::Rewrite => &config.rewrite_rules,
            Self::Aggregation => &config.aggregation_rules,
        };
        (!path.as_os_str().is_empty()).then_some(path)
    }
}

impl Rules {
    /// Reads every file that the configuration names.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be used, in one line with the file's path.
    pub fn load(config: &config::Carbon) -> Result<Self, String> {
        let mut rules = Self::default();
        for file in RuleFile::ALL {
            if let Some(path) = file.path(config) {
                rules.read(file, path).map_err(|error| format!("{}: {error}", file.key()))?;
            }
        }
        Ok(rules)
    }

    /// Reads one file in the place of what was known of it.
    ///
    /// # Errors
    /// What is wrong with it, in one line that begins with its path; then nothing has changed.
    pub fn read(&mut self, file: RuleFile, path: &Path) -> Result<(), String> {
        let text = text_of(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let located = |error: RuleError| format!("{}:{}: {}", path.display(), error.line, error.reason);
        match file {
            RuleFile::Whitelist => self.whitelist = Arc::new(NameList::parse(&text).map_err(located)?),
            RuleFile::Blacklist => self.blacklist = Arc::new(NameList::parse(&text).map_err(located)?),
            RuleFile::Rewrite => self.rewrite = Arc::new(RewriteRules::parse(&text).map_err(located)?),
            RuleFile::Aggregation => self.aggregation = Arc::new(aggregation::parse(&text).map_err(located)?),
        }
        Ok(())
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let opened = File::open(path).map(|file| file.take(MAX_FILE_BYTES + 1));
    opened.and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is longer than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not utf-8".to_owned())
}

/// What is wrong with a line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl RuleError {
    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// The lines that say something, by their numbers, without white space at their ends.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(n, l)| (n, l.trim()))
}

/// Refuses one rule more than may be.
fn check_count(rules: usize, line: usize) -> Result<(), RuleError> {
    if rules >= MAX_RULES {
        return Err(RuleError::at(line, format!("there are more than {MAX_RULES} rules")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_the_line_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blacklist.conf");
        let mut config = config::Carbon { blacklist: path.clone(), ..config::Carbon::default() };
        let error = Rules::load(&config).unwrap_err();
        assert!(error.starts_with(&format!("carbon.blacklist: {}: ", path.display())), "{error}");
        std::fs::write(&path, "# none\n^noise\\.\n").unwrap();
        let mut rules = Rules::load(&config).unwrap();
        assert!(rules.blacklist.contains("noise.x"));
        std::fs::write(&path, "fine\n\n(\n").unwrap();
        let error = rules.read(RuleFile::Blacklist, &path).unwrap_err();
        assert_eq!(error, format!("{}:3: the regex \"(\" is not valid: unclosed group", path.display()));
        assert!(rules.blacklist.contains("noise.x"));
        std::fs::write(&path, vec![b'x'; 1 + (1 << 20)]).unwrap();
        let error = rules.read(RuleFile::Blacklist, &path).unwrap_err();
        assert_eq!(error, format!("{}: it is longer than 1048576 bytes", path.display()));
        config.blacklist = Default::default();
        assert!(Rules::load(&config).unwrap().blacklist.is_empty());
    }
}
