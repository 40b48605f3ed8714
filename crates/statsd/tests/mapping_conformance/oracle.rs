//! The real statsd_exporter, asked by the Go program in tests/conformance/mapping.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// A mapping file, names to look up under it, and events to add up under it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Case {
    pub config: String,
    pub queries: Vec<(String, String)>,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub metric: &'static str,
    pub name: String,
    pub value: f64,
    pub relative: bool,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    #[serde(default)]
    pub error: String,
    pub mappings: Option<Vec<Option<Mapping>>>,
    #[serde(default)]
    pub text: String,
    #[serde(default)]
    pub open_metrics: String,
    pub conflicts: f64,
    pub errors: f64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    pub drop: bool,
    pub empty: bool,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub help: String,
    pub honor: bool,
    pub ttl: u64,
    pub scale: Option<f64>,
    pub histogram: bool,
    pub buckets: Option<Vec<f64>>,
    pub quantiles: Option<Vec<f64>>,
    pub max_age: u64,
    pub age_buckets: u32,
    pub buf_cap: u32,
}

pub struct Oracle(PathBuf);

impl Oracle {
    /// Builds the program. `None`, and said so, where Go is not installed.
    pub fn build() -> Option<Self> {
        if Command::new("go").arg("version").output().is_err() {
            println!("skipped: go is not installed");
            return None;
        }
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mapping-oracle");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(repository.join("tests/conformance/mapping"))
            .output()
            .unwrap();
        assert!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr));
        Some(Self(program))
    }

    pub fn ask(&self, cases: &[Case]) -> Vec<Answer> {
        let mut child = Command::new(&self.0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // All of the cases are read before the first answer is written.
        stdin.write_all(&serde_json::to_vec(cases).unwrap()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the oracle failed");
        let answers: Vec<Answer> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), cases.len());
        answers
    }
}
