//! Series and events as frames.
//!
//! Series that share a grid share a wide frame, so that their times are sent once; otherwise each has a frame of its own.
//! Labels are kept, and made unique where a function left two series with the same ones, since alerting needs to tell them
//! apart; the legend's name is kept beside them.

use std::collections::{BTreeMap, HashMap, HashSet};

use grafana_plugin::{Field, Frame, FrameType, Notice};
use statline_flight::{EventList, SeriesRow};
use statline_series::Values;

/// What a field with values is called; legends show its display name.
const VALUE: &str = "value";

/// The frames of an answer. None when there are no series, which Grafana shows as "no data".
pub fn series(rows: &[SeriesRow], executed: Option<&str>) -> Vec<Frame> {
    let labels = unique_labels(rows);
    let mut frames = match rows {
        [] => Vec::new(),
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|row| same_grid(&first.values, &row.values)) => {
            let times = first.values.points().map(|point| point.timestamp.millis());
            let mut frame = Frame::new("", FrameType::TimeSeriesWide).with_field(Field::time_ms("time", times));
            for (row, labels) in rows.iter().zip(labels) {
                frame = frame.with_field(value_field(row, labels));
            }
            vec![frame]
        }
        _ => rows
            .iter()
            .zip(labels)
            .map(|(row, labels)| {
                let times = row.values.points().map(|point| point.timestamp.millis());
                Frame::new(&row.name, FrameType::TimeSeriesMulti)
                    .with_field(Field::time_ms("time", times))
                    .with_field(value_field(row, labels))
            })
            .collect(),
    };
    if let (Some(first), Some(executed)) = (frames.first_mut(), executed) {
        first.meta.executed_query_string = executed.to_owned();
    }
    frames
}

/// Events as the table that Grafana makes annotations of: it knows the columns by these names, and splits tags at commas.
pub fn events(list: &EventList) -> Frame {
    let events = &list.events;
    let frame = Frame::new("events", FrameType::Table)
        .with_field(Field::time_ms("time", events.iter().map(|event| event.time.millis())))
        .with_field(Field::string("title", events.iter().map(|event| &event.title)))
        .with_field(Field::string("text", events.iter().map(|event| &event.text)))
        .with_field(Field::string("tags", events.iter().map(|event| event.tags.join(","))))
        .with_field(Field::string("id", events.iter().map(|event| event.id.to_string())));
    if !list.more {
        return frame;
    }
    frame.with_notice(Notice::warning(format!(
        "the newest {} events are shown, there are more; shorten the range or ask for tags",
        events.len()
    )))
}

fn value_field(row: &SeriesRow, labels: BTreeMap<String, String>) -> Field {
    Field::float64_nan_is_null(VALUE, row.values.values().iter().copied())
        .with_labels(labels)
        .with_display_name(&row.name)
}

fn same_grid(left: &Values, right: &Values) -> bool {
    match (left, right) {
        (
            Values::Regular { start, step, values },
            Values::Regular { start: other_start, step: other_step, values: other_values },
        ) => start == other_start && step == other_step && values.len() == other_values.len(),
        _ => false,
    }
}

/// Each row's labels; rows whose labels would be the same get their own name as `name`, counted where even that is shared.
fn unique_labels(rows: &[SeriesRow]) -> Vec<BTreeMap<String, String>> {
    let mut seen: HashMap<&BTreeMap<String, String>, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        *seen.entry(&row.labels).or_default() += 1;
    }
    let is_alone = |row: &SeriesRow| seen.get(&row.labels).is_some_and(|count| *count == 1);
    // Nobody is renamed to what another has had from the start.
    let mut taken: HashSet<BTreeMap<String, String>> =
        rows.iter().filter(|row| is_alone(row)).map(|row| row.labels.clone()).collect();
    let mut copies: HashMap<BTreeMap<String, String>, usize> = HashMap::new();
    rows.iter()
        .map(|row| {
            let mut labels = row.labels.clone();
            if is_alone(row) {
                return labels;
            }
            labels.insert("name".to_owned(), row.name.clone());
            let copy = copies.entry(labels.clone()).or_insert(1);
            while !taken.insert(labels.clone()) {
                *copy += 1;
                labels.insert("name".to_owned(), format!("{} ({copy})", row.name));
            }
            labels
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_flight::EventRow;
    use statline_series::{Step, Timestamp};

    fn row(name: &str, start: i64, labels: &[(&str, &str)]) -> SeriesRow {
        SeriesRow {
            name: name.to_owned(),
            labels: labels.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect(),
            path_expression: "a.*".to_owned(),
            values: Values::Regular {
                start: Timestamp::from_seconds(start),
                step: Step::SECOND,
                values: vec![1.0, f64::NAN, 3.0],
            },
        }
    }

    #[test]
    fn series_on_one_grid_share_a_wide_frame() {
        let frames = series(&[row("a", 10, &[("name", "a")]), row("b", 10, &[("name", "b")])], Some("a.*"));
        assert_eq!(frames.len(), 1);
        let frame = &frames[0];
        assert_eq!(frame.meta.frame_type, Some(FrameType::TimeSeriesWide));
        assert_eq!(frame.meta.executed_query_string, "a.*");
        assert_eq!(frame.fields.len(), 3);
        assert_eq!(frame.fields[0].time_ms_at(1), Some(11_000));
        assert_eq!(frame.fields[1].number(1), None);
        assert_eq!(frame.fields[2].number(2), Some(3.0));
        assert_eq!(frame.fields[2].labels.as_ref().unwrap()["name"], "b");
        assert_eq!(frame.fields[2].config.as_ref().unwrap().display_name_from_ds, "b");
    }

    #[test]
    fn series_on_grids_of_their_own_have_frames_of_their_own() {
        let frames = series(&[row("a", 10, &[]), row("b", 11, &[])], None);
        assert_eq!(frames.iter().map(|frame| frame.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(frames.iter().all(|frame| frame.meta.frame_type == Some(FrameType::TimeSeriesMulti)));
        assert!(series(&[], None).is_empty());
    }

    #[test]
    fn events_are_the_table_that_annotations_are_made_of() {
        let event = |time, title: &str, tags: &[&str]| EventRow {
            id: 9_007_199_254_740_991,
            time: Timestamp::from_millis(time),
            title: title.to_owned(),
            text: String::new(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        let mut list = EventList { events: vec![event(5, "a", &["x", "host:web"]), event(7, "b", &[])], more: false };
        let frame = events(&list);
        let names: Vec<&str> = frame.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["time", "title", "text", "tags", "id"]);
        assert_eq!(frame.fields[0].time_ms_at(1), Some(7));
        let first: Vec<_> = frame.fields[1..].iter().map(|field| field.text(0).unwrap()).collect();
        assert_eq!(first, ["a", "", "x,host:web", "9007199254740991"]);
        assert!(frame.meta.notices.is_empty());
        list.more = true;
        assert!(events(&list).meta.notices[0].text.starts_with("the newest 2 events are shown"));
        assert_eq!(events(&EventList::default()).rows().unwrap(), 0);
    }

    #[test]
    fn labels_that_would_be_the_same_are_told_apart_by_name() {
        // Each row's name and its label `name`, and what the label becomes.
        for (rows, names) in [
            (&[("a", "x"), ("b", "x")][..], &["a", "b"][..]),
            // The same series twice, as group(a, a) answers.
            (&[("a", "a"), ("a", "a"), ("a", "a")], &["a", "a (2)", "a (3)"]),
            (&[("a", "x"), ("a", "x"), ("b", "x")], &["a", "a (2)", "b"]),
            // A name that another series has had from the start.
            (&[("a", "x"), ("b", "x"), ("c", "a")], &["a (2)", "b", "a"]),
            (&[("a", "x"), ("a", "x"), ("c", "a (2)")], &["a", "a (3)", "a (2)"]),
        ] {
            let rows: Vec<_> = rows.iter().map(|(name, label)| row(name, 10, &[("name", *label)])).collect();
            let frames = series(&rows, None);
            let told: Vec<_> =
                frames[0].fields[1..].iter().map(|field| field.labels.as_ref().unwrap()["name"].clone()).collect();
            assert_eq!(told, names);
        }
    }
}
