//! `statlined import`: JSON lines into a store, in batches. What is there already is overwritten by the same instant, so
//! that an import can be run again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use clap::Args;
use statline_series::Batch;
use statline_store::{Appended, EmbeddedStore, Refused, Store};

use super::{Outcome, StoreArgs, instead, line};

/// The most points of a batch, roughly; a sketch counts as ten, an event as a hundred.
const BATCH_WEIGHT: usize = 100_000;
const SKETCH_WEIGHT: usize = 10;
const EVENT_WEIGHT: usize = 100;
/// The longest line.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What `statlined import` takes.
#[derive(Args)]
pub struct ImportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The file to read; standard input without it, or when it is -
    file: Option<PathBuf>,
    /// Stop at the first bad line
    #[arg(long)]
    strict: bool,
}

/// What became of all lines.
#[derive(Debug, Default)]
struct Imported {
    lines: u64,
    bad_lines: u64,
    appended: Appended,
}

/// Imports.
///
/// # Errors
/// When the store cannot be opened or written, the file cannot be read, a line was bad, or something was refused.
pub fn run(args: &ImportArgs) -> Outcome {
    let config = args.store.load()?;
    let input: Box<dyn Read> = match args.file.as_ref().filter(|path| path.as_os_str() != "-") {
        Some(path) => {
            Box::new(File::open(path).map_err(|error| format!("could not read {}: {error}", path.display()))?)
        }
        None => Box::new(io::stdin().lock()),
    };
    let store = EmbeddedStore::open(config.store.embedded(config.statsd.step())?)
        .map_err(|error| instead(error, "stop it first, or send the points to carbon.listen"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut imported = Imported::default();
    let read = runtime.block_on(async {
        let read = read_all(&store, BufReader::new(input), args.strict, &mut imported).await;
        store.close().await?;
        read
    });
    let Imported { lines, bad_lines, appended } = imported;
    let Appended { points, sketches, events, known_events, new_series, .. } = appended;
    writeln!(
        io::stderr(),
        "statlined: {lines} lines, {bad_lines} bad: stored {points} points, {sketches} sketches and {events} events, \
         {known_events} events were there, {new_series} series are new"
    )?;
    read?;
    let refused = refusals(&appended);
    if !refused.is_empty() {
        return Err(format!("refused: {refused}").into());
    }
    if bad_lines > 0 {
        return Err(format!("{bad_lines} bad lines were left out").into());
    }
    Ok(())
}

async fn read_all(store: &EmbeddedStore, mut input: impl BufRead, strict: bool, imported: &mut Imported) -> Outcome {
    let mut batch = Batch::default();
    let mut text = Vec::new();
    let mut stop = None;
    while stop.is_none() {
        text.clear();
        let length = input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text)?;
        if length == 0 {
            break;
        }
        imported.lines += 1;
        let read = if length as u64 == MAX_LINE_BYTES && text.last() != Some(&b'\n') {
            skip_line(&mut input)?;
            Err(format!("it is longer than {MAX_LINE_BYTES} bytes"))
        } else if text.trim_ascii().is_empty() {
            Ok(())
        } else {
            line::read(text.trim_ascii(), &mut batch)
        };
        if let Err(reason) = read {
            imported.bad_lines += 1;
            let _ = writeln!(io::stderr(), "statlined: line {}: {reason}", imported.lines);
            stop = strict.then_some(imported.lines);
        }
        if weight(&batch) >= BATCH_WEIGHT {
            store_batch(store, &mut batch, imported).await?;
        }
    }
    store_batch(store, &mut batch, imported).await?;
    match stop {
        Some(line) => Err(format!("stopped at line {line}; the lines before it are stored").into()),
        None => Ok(()),
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let some = input.fill_buf()?;
        let length = some.len();
        let end = some.iter().position(|byte| *byte == b'\n');
        input.consume(end.map_or(length, |end| end + 1));
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

fn weight(batch: &Batch) -> usize {
    batch.rows.len() + batch.sketches.len() * SKETCH_WEIGHT + batch.events.len() * EVENT_WEIGHT
}

async fn store_batch(store: &EmbeddedStore, batch: &mut Batch, imported: &mut Imported) -> Outcome {
    if batch.is_empty() {
        return Ok(());
    }
    let appended = store.append(std::mem::take(batch)).await.map_err(|error| {
        format!("{error}; stopped before line {}, run the import again to go on", imported.lines + 1)
    })?;
    let all = &mut imported.appended;
    all.points += appended.points;
    all.sketches += appended.sketches;
    all.events += appended.events;
    all.known_events += appended.known_events;
    all.new_series += appended.new_series;
    add(&mut all.refused, appended.refused);
    add(&mut all.refused_sketches, appended.refused_sketches);
    add(&mut all.refused_events, appended.refused_events);
    Ok(())
}

fn add(all: &mut Refused, refused: Refused) {
    all.too_old += refused.too_old;
    all.too_new += refused.too_new;
    all.series_limit += refused.series_limit;
    all.too_deep += refused.too_deep;
    all.not_a_number += refused.not_a_number;
    all.too_large += refused.too_large;
}

/// What was refused and why, as one text; empty when nothing was.
fn refusals(appended: &Appended) -> String {
    let Appended { refused, refused_sketches, refused_events, .. } = appended;
    let mut texts = Vec::new();
    for (things, refused) in [("points", refused), ("sketches", refused_sketches), ("events", refused_events)] {
        for (count, why) in [
            (refused.too_old, "are older than anything is kept"),
            (refused.too_new, "are too far in the future"),
            (refused.series_limit, "are of series beyond store.max_series or store.max_sketch_series"),
            (refused.too_deep, "are of names with more than 64 parts"),
            (refused.not_a_number, "have no value"),
            (refused.too_large, "are too large"),
        ] {
            if count > 0 {
                texts.push(format!("{count} {things} {why}"));
            }
        }
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_store::EmbeddedConfig;

    async fn import(store: &EmbeddedStore, text: &str, strict: bool) -> (Outcome, Imported) {
        let mut imported = Imported::default();
        let outcome = read_all(store, text.as_bytes(), strict, &mut imported).await;
        (outcome, imported)
    }

    #[tokio::test]
    async fn a_bad_line_is_left_out_or_ends_the_import() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(EmbeddedConfig::at(directory.path())).unwrap();
        let now = crate::clock::now().millis();
        let text = format!(
            "{{\"name\":\"a\",\"points\":[[{now},1],[{now},2]]}}\n\nnonsense\n{{\"name\":\"b\",\"points\":[[{now},\"nan\"],[5,1]]}}"
        );
        let (outcome, imported) = import(&store, &text, false).await;
        outcome.unwrap();
        assert_eq!((imported.lines, imported.bad_lines, imported.appended.points), (4, 1, 2));
        assert_eq!(refusals(&imported.appended), "1 points are older than anything is kept, 1 points have no value");
        let (outcome, imported) = import(&store, &text, true).await;
        assert_eq!(outcome.unwrap_err().to_string(), "stopped at line 3; the lines before it are stored");
        assert_eq!((imported.lines, imported.appended.points, imported.appended.new_series), (3, 2, 0));
    }

    #[test]
    fn a_line_is_skipped_to_its_end() {
        let mut input = BufReader::with_capacity(4, &b"a long line\nnext"[..]);
        skip_line(&mut input).unwrap();
        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "next");
    }
}
