//! Targets over a day of 200 series: our answers over HTTP, graphite-web's evaluator in process.

use std::fs;

use serde_json::Value;
use statline_harness::statlined::Statlined;

use super::data::{POINTS_OF_A_DAY, STEP, Walks, start};
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
all cores for that (a mean); *uncached ms* is the answer of one that keeps no decoded chunks (`store.cache_memory = 0`), which is
what a chunk costs that is asked for the first time. *graphite-web ms* is version 1.1.10 in the same run, its rounds between ours:
its evaluator in process over whisper files, without HTTP and JSON; in the first row its own answer in JSON, in process too. The
others are medians. Both answers are held against each other: as many series and values, and the same sum.

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

impl Question {
    fn path(&self, (from, until): (i64, i64)) -> String {
        let (from, until) = (from.to_string(), until.to_string());
        format!(
            "/render?{}",
            form_of(&[("target", self.target), ("from", &from), ("until", &until), ("format", "json")])
        )
    }
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

/// What came of a question, in milliseconds.
struct Figures {
    ours: f64,
    cpu: f64,
    /// Of a daemon that keeps nothing decoded.
    uncached: f64,
    theirs: f64,
}

/// Measures; the table and the bars.
pub fn run(rounds: usize) -> Measured {
    progress("graphite: a day of 200 series");
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let walks = Walks::new()?;
    let daemon = walks.serve(&store)?;
    let file = directory.path().join("series");
    walks.write(&file)?;
    let mut web = GraphiteWeb::start(&file)?;
    let window = (walks.until() - POINTS_OF_A_DAY as i64 * STEP, walks.until());

    let mut all = Vec::new();
    for question in &QUESTIONS {
        progress(&format!("graphite: {}", question.target));
        all.push(side_by_side(question, window, rounds.max(1), &daemon, &mut web)?);
    }
    daemon.terminate()?;
    let daemon = start(&store, Some(0))?;
    for (question, figures) in QUESTIONS.iter().zip(&mut all) {
        progress(&format!("graphite: {}, with nothing decoded", question.target));
        let mut answer = Answer::default();
        let path = question.path(window);
        answer.get(daemon.http(), &path)?;
        figures.uncached = ask(&mut answer, &daemon, &path, rounds.max(1) * ASKED_A_ROUND)?.0;
    }
    daemon.terminate()?;
    fs::remove_file(file)?;
    Ok((table(&all), bars(&all)))
}

/// Asks both in turns. What a daemon that keeps nothing takes is left to be measured.
fn side_by_side(
    question: &Question,
    window: (i64, i64),
    rounds: usize,
    daemon: &Statlined,
    web: &mut GraphiteWeb,
) -> Result<Figures, Error> {
    let target = question.target;
    let path = question.path(window);
    let mut answer = Answer::default();
    // The first answers are not counted, but compared.
    answer.get(daemon.http(), &path)?;
    must_agree(target, &answer.body()?, &web.evaluate(target, window)?)?;
    let (mut ours, mut cpu, mut theirs) = (Vec::new(), 0.0, Vec::new());
    for _ in 0..rounds {
        let (ms, cpu_ms) = ask(&mut answer, daemon, &path, ASKED_A_ROUND)?;
        ours.push(ms);
        // The kernel counts in hundredths of a second, so that only the mean of many says something.
        cpu += cpu_ms / rounds as f64;
        let is_raw = question.name == "raw";
        theirs.push(if is_raw { web.render(target, window)? } else { web.evaluate(target, window)?.ms });
    }
    Ok(Figures { ours: median(&ours), cpu, uncached: f64::NAN, theirs: median(&theirs) })
}

/// The median of some answers in milliseconds, and the CPU time of one on average.
fn ask(answer: &mut Answer, daemon: &Statlined, path: &str, times: usize) -> Result<(f64, f64), Error> {
    let before = procfs::cpu(daemon.pid())?;
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        answer.get(daemon.http(), path)?;
        all.push(answer.took.as_secs_f64() * 1e3);
    }
    let cpu = (procfs::cpu(daemon.pid())? - before).as_secs_f64() * 1e3;
    Ok((median(&all), cpu / times as f64))
}

fn table(all: &[Figures]) -> String {
    let mut table = Table::new(&[
        "target",
        "ms",
        "CPU ms",
        "uncached ms",
        "graphite-web ms",
        "times faster",
        "goal",
        "VictoriaMetrics known ms",
        "carbonapi known ms",
    ]);
    for (Question { target, goal, known, .. }, Figures { ours, cpu, uncached, theirs }) in QUESTIONS.iter().zip(all) {
        table.row([
            (*target).to_owned(),
            format!("{ours:.2}"),
            format!("{cpu:.1}"),
            format!("{uncached:.2}"),
            format!("{theirs:.1}"),
            format!("{:.1}", theirs / ours),
            goal.map_or_else(String::new, |goal| format!("{goal:.0}")),
            format!("{}", known[0]),
            format!("{}", known[1]),
        ]);
    }
    table.markdown()
}

fn bars(all: &[Figures]) -> Vec<Bar> {
    let with_goals =
        QUESTIONS.iter().zip(all).filter_map(|(question, figures)| Some((question, figures, question.goal?)));
    with_goals
        .map(|(Question { name, .. }, Figures { ours, theirs, .. }, goal)| {
            Bar::at_most(format!("graphite.{name}_to_graphite_web"), ours / theirs, 1.0 / goal)
        })
        .collect()
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
