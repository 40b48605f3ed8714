//! graphite-web beside us: its evaluator over the same series in whisper files, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A running graphite-web; it ends when this is dropped.
pub struct GraphiteWeb {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Serialize)]
struct Question<'a> {
    target: &'a str,
    from: i64,
    until: i64,
    http: bool,
}

/// What its evaluator made of a target.
#[derive(Debug, Deserialize)]
pub struct Evaluated {
    /// How long that took, without HTTP and JSON.
    pub ms: f64,
    pub series: usize,
    /// Values that are not missing.
    pub points: usize,
    pub sum: f64,
}

/// What came of `/render`.
#[derive(Debug, Deserialize)]
pub struct Rendered {
    pub ms: f64,
    pub status: u16,
}

impl GraphiteWeb {
    /// Starts it on a file of series.
    pub fn start(series: &Path) -> Result<Self, Error> {
        let python = python();
        if !python.is_file() {
            return Err(format!("no {}; make bench installs it", python.display()).into());
        }
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphite");
        let mut command = Command::new(&python);
        command.arg("evaluator.py").arg(series).current_dir(home).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("graphite-web without pipes".into());
        };
        Ok(Self { child, questions, answers: BufReader::new(answers) })
    }

    /// Has a target evaluated over a window.
    pub fn evaluate(&mut self, target: &str, (from, until): (i64, i64)) -> Result<Evaluated, Error> {
        self.ask(&Question { target, from, until, http: false })
    }

    /// Asks for a target over a window as JSON, and takes how long that took.
    pub fn render(&mut self, target: &str, (from, until): (i64, i64)) -> Result<f64, Error> {
        let Rendered { ms, status } = self.ask(&Question { target, from, until, http: true })?;
        if status == 200 { Ok(ms) } else { Err(format!("graphite-web answers {target} with {status}").into()) }
    }

    fn ask<T: for<'a> Deserialize<'a>>(&mut self, question: &Question<'_>) -> Result<T, Error> {
        let mut line = serde_json::to_string(question)?;
        line.push('\n');
        self.questions.write_all(line.as_bytes())?;
        line.clear();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("graphite-web said {line:?}: {error}").into())
    }
}

impl Drop for GraphiteWeb {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter that has it: `STATLINE_GRAPHITE_WEB`, or the one that `make` sets up for conformance tests.
fn python() -> PathBuf {
    std::env::var_os("STATLINE_GRAPHITE_WEB").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/graphite/.venv/bin/python"),
        PathBuf::from,
    )
}
