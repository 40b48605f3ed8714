//! Names of series, as many as are asked for and in an order without order, as a table hands them to a flush.

use statline_series::{KeyError, SeriesKey};

/// What the names look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Five levels, ten names at most below the last branch; 50 bytes.
    Tree,
    /// Ten branches that hold all names; 50 bytes.
    Flat,
    /// A name and four tags; some 75 bytes.
    Tagged,
    /// The same, with a tag that has another value for each series.
    Unique,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tree, Self::Flat, Self::Tagged, Self::Unique];

    /// As a table shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Flat => "flat",
            Self::Tagged => "tagged",
            Self::Unique => "unique",
        }
    }

    fn name(self, number: usize) -> Result<SeriesKey, KeyError> {
        // The digits of the number, so that each place of a name has its share of values.
        let (last, host, service) = (number % 10, number / 10 % 1000, number / 10_000);
        match self {
            Self::Tree => {
                const LEAVES: [&str; 10] = [
                    "count_ps", "upper_90", "lower_90", "mean_900", "std_devs", "sum_9000", "median50", "upper_99",
                    "samples1", "sum_sqrs",
                ];
                SeriesKey::from_name(&format!(
                    "stats.timers.shop-{service:04}.host-{host:04}.requests.{}",
                    LEAVES[last]
                ))
            }
            Self::Flat => SeriesKey::from_name(&format!("stats.gauges.group-{last}.session-{:015}.level", number / 10)),
            Self::Tagged => SeriesKey::from_parts(
                &format!("requests_{last}_total"),
                &mut [
                    ("host", &format!("web-{host:04}")),
                    ("method", ["GET", "PUT", "POST", "HEAD", "PATCH"][service % 5]),
                    ("region", &format!("region-{}", service / 5 % 4)),
                    ("status", &format!("{}", 200 + service / 20)),
                ],
            ),
            Self::Unique => SeriesKey::from_parts(
                &format!("requests_{last}_total"),
                &mut [
                    ("host", &format!("web-{host:04}")),
                    ("method", ["GET", "PUT", "POST", "HEAD", "PATCH"][service % 5]),
                    ("region", &format!("region-{}", service / 5 % 4)),
                    ("session", &format!("{number:08}")),
                ],
            ),
        }
    }

    /// So many keys.
    ///
    /// # Errors
    /// When a key is not one.
    pub fn keys(self, count: usize) -> Result<Vec<SeriesKey>, KeyError> {
        let mut numbers: Vec<usize> = (0..count).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut numbers);
        numbers.into_iter().map(|number| self.name(number)).collect()
    }
}
