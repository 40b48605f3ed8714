//! What `[store]` says of tiers, and carbon's files beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use statline_series::Step;
use statline_store::{EmbeddedConfig, Policy, SchemaError, Schemas, Tier};

use super::Store;

impl Store {
    /// The embedded store's own form, for flushes that are so far apart.
    ///
    /// # Errors
    /// When the retentions or one of carbon's files cannot be used, or do not go with the flushes.
    pub fn embedded(&self, flush: Step) -> Result<EmbeddedConfig, String> {
        let mut embedded = EmbeddedConfig::at(&self.path);
        embedded.schemas = self.tiers(flush)?;
        embedded.max_late = self.max_late.get();
        embedded.block_length = self.block_length.get();
        embedded.max_series = self.max_series;
        embedded.max_sketch_series = self.max_sketch_series;
        embedded.max_events = self.max_events;
        embedded.event_memory = self.event_memory;
        embedded.head_memory = self.head_memory;
        embedded.cache_memory = self.cache_memory;
        Ok(embedded)
    }

    fn tiers(&self, flush: Step) -> Result<Schemas, String> {
        let fallback = if self.retentions.is_empty() {
            default_tiers(flush).map_err(|error| error.to_string())?
        } else {
            let tiers: Policy = self.retentions.parse().map_err(|error| format!("store.retentions: {error}"))?;
            if tiers.finest() > flush {
                return Err(format!(
                    "store.retentions is {tiers:?}, whose finest step is longer than statsd.flush_interval, {}: of several \
                     flushes in a step only the last would be kept",
                    humantime::format_duration(Duration::from_millis(flush.millis().unsigned_abs())),
                    tiers = self.retentions,
                ));
            }
            tiers
        };
        let read = |key: &str, path: &Path| {
            fs::read_to_string(path).map_err(|error| format!("{key}: could not read {}: {error}", path.display()))
        };
        let mut schemas = Schemas::of(fallback);
        if !self.schemas.as_os_str().is_empty() {
            let text = read("store.schemas", &self.schemas)?;
            schemas = schemas.with_schemas(&text).map_err(|error| format!("{}: {error}", self.schemas.display()))?;
        }
        if !self.aggregation.as_os_str().is_empty() {
            let text = read("store.aggregation", &self.aggregation)?;
            schemas =
                schemas.with_aggregations(&text).map_err(|error| format!("{}: {error}", self.aggregation.display()))?;
        }
        Ok(schemas)
    }
}

/// Flushes for 6 hours, then minutes for 6 days, then ten minutes for 5 years, or the next multiples of the flush interval.
fn default_tiers(flush: Step) -> Result<Policy, SchemaError> {
    const HOUR: i64 = 3_600_000;
    let tier = |step: Step, hours: i64| Tier { step, retention: hours * HOUR };
    let at_least = |step: Step, seconds: i64| step.round_up(Step::from_seconds(seconds).unwrap_or(step));
    let minute = at_least(flush, 60);
    let ten_minutes = at_least(minute, 600);
    let mut tiers = vec![tier(flush, 6), tier(minute, 6 * 24), tier(ten_minutes, 5 * 365 * 24)];
    // A long flush interval takes the place of tiers that are no coarser; what is kept for longer counts.
    tiers.reverse();
    tiers.dedup_by_key(|tier| tier.step);
    tiers.reverse();
    Policy::new(tiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_follows_the_flush_interval() {
        for (seconds, expected) in [
            (10, "10s:6h,1m:6d,10m:5y"),
            (1, "1s:6h,1m:6d,10m:5y"),
            (7, "7s:6h,63s:6d,630s:5y"),
            (60, "1m:6d,10m:5y"),
            (3600, "1h:5y"),
        ] {
            let flush = Step::from_seconds(seconds).unwrap();
            assert_eq!(default_tiers(flush).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn files_of_carbon_are_read_and_what_is_wrong_with_them_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("storage-schemas.conf");
        let flush = Step::from_seconds(10).unwrap();
        let mut store = Store { schemas: path.clone(), ..Store::default() };
        let error = store.embedded(flush).unwrap_err();
        assert!(error.starts_with(&format!("store.schemas: could not read {}: ", path.display())), "{error}");
        fs::write(&path, "[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n").unwrap();
        assert_eq!(store.embedded(flush).unwrap().schemas.rules().len(), 2);
        fs::write(&path, "[carbon]\npattern = ^carbon\\.\n").unwrap();
        let error = store.embedded(flush).unwrap_err();
        assert_eq!(error, format!("{}: line 1: section [carbon] has no retentions", path.display()));

        store.schemas = Default::default();
        store.retentions = "1m:1d".to_owned();
        assert_eq!(
            store.embedded(flush).unwrap_err(),
            "store.retentions is \"1m:1d\", whose finest step is longer than statsd.flush_interval, 10s: of several flushes \
             in a step only the last would be kept"
        );
        store.retentions = "10s".to_owned();
        assert_eq!(
            store.embedded(flush).unwrap_err(),
            "store.retentions: a retention is written as step:length, such as 10s:6h or 60:1440, got \"10s\""
        );
    }
}
