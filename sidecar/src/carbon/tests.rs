//! What nobody should send: lines, pickles and files of rules that are made at random. Nothing may panic, and what is made of
//! them is bounded by what was sent.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use statline_store::{EmbeddedConfig, EmbeddedStore, Store};

use super::aggregator::{Aggregator, AggregatorLimits};
use super::intake::{Funnel, Intake};
use super::router::{Route, Router};
use super::rules::Rules;
use super::rules::aggregation;
use super::rules::list::NameList;
use super::rules::rewrite::RewriteRules;
use super::stats::CarbonStats;
use crate::receive::sender::Sender;

const MAX_LINE: usize = 100;
const LIMITS: AggregatorLimits = AggregatorLimits { intervals: 20, values: 20, late_intervals: 5, write_back: None };

/// A store that nothing is written to, since no future of a funnel is ever waited for.
fn store() -> Arc<dyn Store> {
    static STORE: OnceLock<Arc<dyn Store>> = OnceLock::new();
    let open = || -> Arc<dyn Store> {
        let directory = tempfile::tempdir().unwrap().keep();
        let config = EmbeddedConfig { background: false, ..EmbeddedConfig::at(&directory) };
        let store = Arc::new(EmbeddedStore::open(config).unwrap());
        // It has its files open, and needs their names no more.
        std::fs::remove_dir_all(directory).unwrap();
        store
    };
    Arc::clone(STORE.get_or_init(open))
}

/// A way in, and a funnel of it that has something under way, so that what it takes from here on gathers.
fn funnel() -> (Arc<Intake>, Funnel) {
    let router = Router::new(rules(), true);
    let stats: Arc<CarbonStats> = Arc::default();
    let intake = Arc::new(Intake::new(store(), stats, router, Aggregator::new(LIMITS), MAX_LINE, 10));
    let mut funnel = Funnel::new(Arc::clone(&intake));
    funnel.lines(b"first 1 1", Sender::Unknown);
    assert_eq!(funnel.gathered(), 0);
    (intake, funnel)
}

/// Rules of which every kind has some.
fn rules() -> Rules {
    Rules {
        blacklist: Arc::new(NameList::parse("^no").unwrap()),
        rewrite: Arc::new(RewriteRules::parse("[pre]\na* = \\g<0>b\n[post]\n(.+)x = \\1\\1\n").unwrap()),
        aggregation: Arc::new(aggregation::parse("<a>.all (1) = p50 <a>.*\n<a> (1) = sum <a>.<<b>>\n").unwrap()),
        ..Rules::default()
    }
}

/// Text that looks like a file of carbon's more often than chance has it.
fn file() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[pre]\n".to_owned()),
        Just("[post]\n".to_owned()),
        Just(" = ".to_owned()),
        Just(" (60) = sum ".to_owned()),
        "\\(?[0-9]{1,12}\\)? = (avg|p95|last) ",
        "[a-z.*<>()\\[\\]{}|?+^$\\\\0-9=%#-]{0,12}",
        "<{1,2}[a-z]{1,2}>{1,2}",
        "\\(\\?P<[a-z]>",
        "\\\\g<[a-z0-9]>",
        "\\PC{0,4}",
        Just("\n".to_owned()),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_lines_are_taken_or_refused(
        lines in prop::collection::vec(
            prop_oneof![
                "[a-c.x;=~{}\",\u{e4}]{0,12} [-0-9.e_]{1,6} -?[0-9]{1,12}( |\r)?",
                "\\PC{0,30}",
                "[a-z ]{90,110}",
                Just("no.x 1 1".to_owned()),
            ],
            0..30,
        ),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (intake, mut funnel) = funnel();
        let bytes = [lines.join("\n").as_bytes(), b"\n", &noise].concat();
        funnel.lines(&bytes, Sender::Unknown);
        let sent = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert!(funnel.gathered() + intake.stats().refusals().len() <= sent);
        prop_assert!(intake.known_names() <= 10);
        let aggregator = intake.aggregator().lock();
        prop_assert!(aggregator.intervals() <= LIMITS.intervals && aggregator.values() <= LIMITS.values);
    }

    #[test]
    fn any_pickle_is_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_, mut funnel) = funnel();
        funnel.pickle(&bytes, Sender::Unknown);
        prop_assert!(funnel.gathered() <= bytes.len());
    }

    #[test]
    fn any_file_is_rules_or_an_error_of_one_line(text in file(), names in prop::collection::vec("[a-z.0-9]{0,20}", 0..5)) {
        let list = NameList::parse(&text);
        let rewrite = RewriteRules::parse(&text);
        let aggregation = aggregation::parse(&text);
        let mut errors = String::new();
        for error in [list.as_ref().err(), rewrite.as_ref().err(), aggregation.as_ref().err()].into_iter().flatten() {
            prop_assert!(error.line >= 1 && error.line <= text.lines().count());
            prop_assert!(!error.reason.contains('\n'), "{}", error.reason);
            let _ = write!(errors, "{}", error.reason);
        }
        prop_assert!(errors.len() <= 3 * (text.len() * 10 + 500));
        let rules = Rules {
            whitelist: Arc::default(),
            blacklist: Arc::new(list.unwrap_or_default()),
            rewrite: Arc::new(rewrite.unwrap_or_default()),
            aggregation: Arc::new(aggregation.unwrap_or_default()),
        };
        let router = Router::new(rules, true);
        for name in names {
            if let Route::Taken { stored: Some((key, _)), .. } = router.route(&name) {
                prop_assert!(key.as_str().len() <= statline_series::key::MAX_KEY_BYTES);
            }
        }
    }
}
