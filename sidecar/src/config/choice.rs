//! Yes, no, or not said: then something more general holds. Not said is written as the empty text.

use serde::{Deserialize, Serialize};

/// A yes or no that may be left open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Choice(Option<bool>);

/// How a configuration writes it. A variable of the environment is a text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Said(bool),
    Text(String),
}

impl Choice {
    /// What is said, or else what holds in general.
    pub fn or(self, general: bool) -> bool {
        self.0.unwrap_or(general)
    }
}

impl TryFrom<Written> for Choice {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Said(said) => Ok(Self(Some(said))),
            Written::Text(text) => match text.as_str() {
                "" => Ok(Self(None)),
                "true" => Ok(Self(Some(true))),
                "false" => Ok(Self(Some(false))),
                other => Err(format!("{other:?} is neither true nor false, nor empty")),
            },
        }
    }
}

impl From<Choice> for Written {
    fn from(choice: Choice) -> Self {
        choice.0.map_or_else(|| Self::Text(String::new()), Self::Said)
    }
}
