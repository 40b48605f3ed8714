//! `whitelist.conf` and `blacklist.conf`: a regex a line; a name is on the list when one of them is found in it.

use regex::{RegexSet, RegexSetBuilder};

use super::{RuleError, check_count, lines, regex as pythons};

/// The most that all regexes of a list may hold once compiled, in bytes.
const MAX_LIST_BYTES: usize = 32 << 20;

/// Names, by regexes.
#[derive(Clone, Debug)]
pub struct NameList {
    regexes: RegexSet,
}

impl Default for NameList {
    fn default() -> Self {
        Self { regexes: RegexSet::empty() }
    }
}

impl NameList {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is no regex, or when there are too many.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut patterns = Vec::new();
        let mut last = 1;
        for (line, pattern) in lines(text) {
            check_count(patterns.len(), line)?;
            let regex = pythons::compile(pattern).map_err(|reason| RuleError::at(line, reason))?;
            patterns.push(regex.as_str().to_owned());
            last = line;
        }
        let regexes = RegexSetBuilder::new(&patterns).size_limit(MAX_LIST_BYTES).build();
        let regexes = regexes.map_err(|_| RuleError::at(last, "the regexes together are too large"))?;
        Ok(Self { regexes })
    }

    /// Whether a name is on the list.
    pub fn contains(&self, name: &str) -> bool {
        self.regexes.is_match(name)
    }

    /// Whether there is no regex.
    pub fn is_empty(&self) -> bool {
        self.regexes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_on_the_list_when_a_regex_is_found_in_it() {
        let list = NameList::parse("# comment\n  ^some\\.noisy\\.  \n\n\\.\\.\nx{2}\n #x\n").unwrap();
        for (name, expected) in [
            ("some.noisy.name", true),
            ("awesome.noisy.name", false),
            ("a..b", true),
            ("a.xx.b", true),
            ("a.#x", true),
            ("a.b", false),
        ] {
            assert_eq!(list.contains(name), expected, "{name}");
        }
        assert!(NameList::parse("#only\n").unwrap().is_empty());
        let error = NameList::parse("a\n(?<!a)b").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.reason.contains("look-around"), "{}", error.reason);
    }
}
