//! Targets over a day of 200 series: our answers over HTTP, graphite-web's evaluator in process.

use std::fs;

use serde_json::Value;

use super::data::{POINTS_OF_A_DAY, STEP, Walks};
use super::web::{Evaluated, GraphiteWeb};
use crate::http::{Answer, form_of};
use crate::procfs;
use crate::report::{Bar, Table, median, progress};
use crate::{Error, Measured};

/// What the numbers are.
pub const ABOUT: &str = "\
### Targets

200 series `srv.sNN.dN.cpu` of 1,440 points, a minute apart, one in a hundred missing. statlined runs in its default
configuration as one that has run for a day: the oldest points are rolled up, others are in blocks, the newest in memory. *ms* is
its whole answer to `/render?format=json` without `maxDataPoints`, from the connection to the last byte, *CPU ms* what it took of
all cores for that. *graphite-web ms* is version 1.1.10 in the same run, its rounds between ours: its evaluator in process over
whisper files, without HTTP and JSON; in the first row its own answer in JSON, in process too. All are medians. Both
answers are held against each other: as many series and values, and the same sum.

Debian's VictoriaMetrics (1.79) does not serve `/render`, so that it cannot be asked in the same run. *VictoriaMetrics known ms*
and *carbonapi known ms* (with go-carbon) are their whole answers as measured before, on an idle machine of two cores.";

/// How often statlined answers in each round.
const ASKED_A_ROUND: usize = 3;

struct Question {
    /// As the bar is named.
    name: &'static str,
    target: &'static str,
    /// How many times faster than graphite-web this should be.
    goal: Option<f64>,
    /// Of VictoriaMetrics, and of carbonapi with go-carbon.
    known: [f64; 2],
}

const fn question(name: &'static str, target: &'static str, goal: f64, known: [f64; 2]) -> Question {
    Question { name, target, goal: Some(goal), known }
}

const QUESTIONS: [Question; 11] = [
    question("raw", "srv.*.*.cpu", 25.0, [161.0, 273.0]),
    question("sum", "sumSeries(srv.*.*.cpu)", 22.0, [46.0, 150.0]),
    question("group_by_node", "groupByNode(srv.*.*.cpu,1,\"sum\")", 16.0, [60.0, 185.0]),
    question("moving_average_10", "movingAverage(srv.*.*.cpu,10)", 23.0, [190.0, 332.0]),
    question("moving_average_1h", "movingAverage(srv.*.*.cpu,\"1h\")", 55.0, [372.0, 185.0]),
    question("moving_median_60", "movingMedian(srv.*.*.cpu,60)", 47.0, [1334.0, 295.0]),
    question("percentile_95", "percentileOfSeries(srv.*.*.cpu,95)", 13.0, [82.0, 201.0]),
    question("summarize_1h", "summarize(srv.*.*.cpu,\"1h\")", 38.0, [35.0, 131.0]),
    question("as_percent", "asPercent(srv.*.*.cpu)", 20.0, [179.0, 188.0]),
    Question {
        name: "alias_by_node",
        target: "aliasByNode(scale(srv.*.*.cpu,2),1,2)",
        goal: None,
        known: [166.0, 178.0],
    },
    Question { name: "one_series", target: "srv.s00.d0.cpu", goal: None, known: [2.5, 4.2] },
];

/// Measures; the table and the bars.
pub fn run(rounds: usize) -> Measured {
    progress("graphite: a day of 200 series");
    let directory = tempfile::tempdir()?;
    let walks = Walks::new()?;
    let daemon = walks.serve(&directory.path().join("store"))?;
    let file = directory.path().join("series");
    walks.write(&file)?;
    let mut web = GraphiteWeb::start(&file)?;
    let window = (walks.until() - POINTS_OF_A_DAY as i64 * STEP, walks.until());

    let mut answer = Answer::default();
    let mut table = Table::new(&[
        "target",
        "ms",
        "CPU ms",
        "graphite-web ms",
        "times faster",
        "goal",
        "VictoriaMetrics known ms",
        "carbonapi known ms",
    ]);
    let mut bars = Vec::new();
    for Question { name, target, goal, known } in QUESTIONS {
        progress(&format!("graphite: {target}"));
        let (from, until) = (window.0.to_string(), window.1.to_string());
        let path = format!(
            "/render?{}",
            form_of(&[("target", target), ("from", &from), ("until", &until), ("format", "json")])
        );
        // The first answers are not counted, but compared.
        answer.get(daemon.http(), &path)?;
        must_agree(target, &answer.body()?, &web.evaluate(target, window)?)?;
        let (mut ours, mut cpu, mut theirs) = (Vec::new(), 0.0, Vec::new());
        for _ in 0..rounds.max(1) {
            let before = procfs::cpu(daemon.pid())?;
            for _ in 0..ASKED_A_ROUND {
                answer.get(daemon.http(), &path)?;
                ours.push(answer.took.as_secs_f64() * 1e3);
            }
            cpu += (procfs::cpu(daemon.pid())? - before).as_secs_f64() * 1e3;
            theirs.push(if name == "raw" { web.render(target, window)? } else { web.evaluate(target, window)?.ms });
        }
        let cpu = cpu / ours.len() as f64;
        let (ours, theirs) = (median(&ours), median(&theirs));
        table.row([
            target.to_owned(),
            format!("{ours:.2}"),
            format!("{cpu:.1}"),
            format!("{theirs:.1}"),
            format!("{:.1}", theirs / ours),
            goal.map_or_else(String::new, |goal| format!("{goal:.0}")),
            format!("{}", known[0]),
            format!("{}", known[1]),
        ]);
        bars.extend(
            goal.map(|goal| Bar::at_most(format!("graphite.{name}_to_graphite_web"), ours / theirs, 1.0 / goal)),
        );
    }
    daemon.terminate()?;
    fs::remove_file(file)?;
    Ok((table.markdown(), bars))
}

/// Fails when an answer has other series or values than graphite-web's.
fn must_agree(target: &str, body: &[u8], theirs: &Evaluated) -> Result<(), Error> {
    let answer: Value = serde_json::from_slice(body)?;
    let series = answer.as_array().ok_or("an answer is no list")?;
    let points = series.iter().filter_map(|one| one["datapoints"].as_array()).flatten();
    let values: Vec<f64> = points.filter_map(|point| point[0].as_f64()).collect();
    let sum: f64 = values.iter().sum();
    let is_close = (sum - theirs.sum).abs() <= 1e-6 * theirs.sum.abs();
    if (series.len(), values.len()) == (theirs.series, theirs.points) && is_close {
        return Ok(());
    }
    Err(format!(
        "{target}: {} series, {} values and a sum of {sum} here, and {} series, {} values and a sum of {} by graphite-web",
        series.len(),
        values.len(),
        theirs.series,
        theirs.points,
        theirs.sum
    )
    .into())
}
