//! Who may ask: a bearer token, compared without telling by timing how much of it was right.

/// The token that requests must carry. An empty one lets everybody in.
#[derive(Clone)]
pub struct Access(String);

impl Access {
    /// Access by this token.
    pub fn new(token: &str) -> Self {
        Self(token.to_owned())
    }

    /// Whether the value of an `Authorization` header lets its sender in.
    pub fn allows(&self, authorization: Option<&str>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some((scheme, given)) = authorization.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && same(given.trim().as_bytes(), self.0.as_bytes())
    }
}

fn same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_gets_in() {
        let access = Access::new("s3cret");
        for (header, allowed) in [
            (Some("Bearer s3cret"), true),
            (Some("bearer  s3cret"), true),
            (Some("Bearer s3cre"), false),
            (Some("Bearer s3cret2"), false),
            (Some("Basic s3cret"), false),
            (Some("s3cret"), false),
            (None, false),
        ] {
            assert_eq!(access.allows(header), allowed, "{header:?}");
        }
        assert!(Access::new("").allows(None));
    }
}
