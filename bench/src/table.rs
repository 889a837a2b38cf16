//! The result: rows that name what is measured and with which tool, and the figures.

use std::{fs, path::Path};

/// The machine, the program and the rows.
pub struct Table {
    machine: String,
    size: u64,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    who: String,
    figures: String,
}

impl Table {
    pub fn new(leaderrun: &Path) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("\t: unknown");
        let model = model.trim_start_matches(['\t', ' ', ':']).to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = kernel.split('-').next().unwrap_or_default().trim();
        let size = fs::metadata(leaderrun).expect("leaderrun").len();
        Table { machine: format!("{model}, {cores} cores, Linux {kernel}"), size, rows: Vec::new() }
    }

    pub fn row(&mut self, what: &str, who: &str, figures: String) {
        eprintln!("{what}: {who}: {figures}");
        self.rows.push(Row { what: what.into(), who: who.into(), figures });
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("{}; the release binary has {} KiB.\n\n", self.machine, self.size / 1024);
        text += "| measured | of | figures |\n| --- | --- | --- |";
        for row in &self.rows {
            text += &format!("\n| {} | {} | {} |", row.what, row.who, row.figures);
        }
        text
    }

    pub fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|r| serde_json::json!({ "measured": r.what, "of": r.who, "figures": r.figures }))
            .collect();
        serde_json::json!({ "machine": self.machine, "binary_bytes": self.size, "rows": rows }).to_string()
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Formats "median (minimum to maximum)", in ms.
pub fn spread(values: Vec<f64>) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ms ({least:.2} to {most:.2})", median(values))
}
