//! `--openmetrics`: what is known, for the textfile collector of Prometheus' node_exporter.
//!
//! Format: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>. All metrics are gauges: the
//! collector doesn't know the other types of OpenMetrics, and a count of the runs on record may fall.

use std::{
    fmt::{Display, Write as _},
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::output::{NotWritten, say_text};
use crate::{history::History, one_line::one_line, status::ElectionStatus};

/// The mode of a file that every user can read.
const FOR_ALL: u32 = 0o644;

/// A resource, and its last runs.
pub(super) type Resource = (ElectionStatus, History);

/// The name of a resource, and how many instances stand by for it.
pub(super) type Standbys = (String, u32);

/// Where the resources are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Nodes {
        /// The resource that is asked about; `None` for all. Its name is a label: a collector refuses a series that two files have.
        resource: Option<&'a str>,
        all: usize,
        /// How many can vote.
        voters: usize,
        /// Whether a quorum has answered.
        known: bool,
    },
    ThisMachine,
}

/// Writes the metrics of these resources to a file, in place of what it had before: a reader finds all or none of them. `-`
/// is stdout. `standbys`: of the resources of which that is known.
///
/// # Errors
/// The file can't be written, or isn't a regular file.
pub(super) fn write(
    file: &Path,
    resources: &[Resource],
    standbys: &[Standbys],
    place: Place<'_>,
) -> Result<(), NotWritten> {
    let text = text(resources, standbys, place);
    if file == Path::new("-") {
        return say_text(&text);
    }
    replace(file, text.as_bytes()).map_err(|error| NotWritten::File(file.to_owned(), error))
}

/// Follows a link, so that the link stays.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let target = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error),
        Ok(there) if there.is_file() => fs::canonicalize(file)?,
        Ok(_) => return Err(io::Error::other("it isn't a regular file (for stdout, write -)")),
    };
    let file = target.as_path();
    let name = file.file_name().ok_or(io::Error::from(io::ErrorKind::InvalidInput))?.to_string_lossy();
    // A name that no collector reads.
    let new = file.with_file_name(format!(".{name}.{:016x}.new", fastrand::u64(..)));
    let mut opened = OpenOptions::new().write(true).create_new(true).open(&new)?;
    // The collector is another user, and the umask may be a strict one. Before the rename, so that it finds no other mode.
    let written = opened.set_permissions(Permissions::from_mode(FOR_ALL)).and_then(|()| opened.write_all(text));
    written.and_then(|()| fs::rename(&new, file)).inspect_err(|_| drop(fs::remove_file(&new)))
}

fn text(resources: &[Resource], standbys: &[Standbys], place: Place<'_>) -> String {
    let mut text = String::new();
    if let Place::Nodes { resource, all, voters, known } = place {
        let of = resource.map(|resource| labels(&[("resource", resource)])).unwrap_or_default();
        metric(&mut text, "nodes", "Redis servers of the lock", [(&of, all)]);
        metric(&mut text, "nodes_voting", "Redis servers that can vote", [(&of, voters)]);
        metric(&mut text, "known", "1 if a quorum of the servers answered", [(&of, u8::from(known))]);
    }
    let leaders = || resources.iter().filter_map(|(seen, _)| Some((seen, seen.active_leader()?)));
    let known = resources.iter().filter(|(seen, _)| seen.known);
    metric(
        &mut text,
        "led",
        "1 if an instance leads",
        known.map(|(seen, _)| (of(seen, &[]), u8::from(seen.active_leader().is_some()))),
    );
    metric(
        &mut text,
        "leader",
        "1 for the instance that leads",
        leaders().map(|(seen, leader)| (of(seen, &[("holder", &leader.holder)]), 1)),
    );
    metric(
        &mut text,
        "leader_since_timestamp_seconds",
        "When the leader was elected, by its own clock",
        leaders().map(|(seen, leader)| (of(seen, &[]), seconds(leader.token.elected_at()))),
    );
    metric(
        &mut text,
        "fencing_token",
        "The fencing token of the leader",
        leaders().map(|(seen, leader)| (of(seen, &[]), leader.token)),
    );
    metric(
        &mut text,
        "standbys",
        "How many instances stand by, for any slot",
        standbys.iter().map(|(resource, standbys)| (labels(&[("resource", resource)]), standbys)),
    );
    metric_of_runs(&mut text, resources);
    text.push_str("# EOF\n");
    text
}

fn metric_of_runs(text: &mut String, resources: &[Resource]) {
    let successes = || resources.iter().filter_map(|(seen, history)| Some((seen, history.last_success.as_ref()?)));
    let last_runs = || resources.iter().filter_map(|(seen, history)| Some((seen, history.last_run()?)));
    metric(
        text,
        "last_success_timestamp_seconds",
        "When the command last ended with 0, by a server's clock",
        successes().map(|(seen, last)| {
            let end = last.run.start + last.run.ran().unwrap_or_default();
            (of(seen, &[]), seconds(end))
        }),
    );
    metric(
        text,
        "last_success_age_seconds",
        "How long ago that was when this file was written",
        successes().map(|(seen, last)| (of(seen, &[]), format!("{:.3}", last.ago.as_secs_f64()))),
    );
    metric(
        text,
        "last_run_duration_seconds",
        "How long the last run took that is over",
        last_runs().filter_map(|(seen, run)| Some((of(seen, &[]), format!("{:.3}", run.ran()?.as_secs_f64())))),
    );
    metric(
        text,
        "runs",
        "How many of the last 100 runs had this result; leads: under way",
        resources.iter().flat_map(|(seen, history)| {
            let count = |(result, count): (&String, &u64)| (of(seen, &[("result", result)]), *count);
            history.counts.iter().map(count)
        }),
    );
}

/// Returns the labels of a resource or slot, and more.
fn of(seen: &ElectionStatus, more: &[(&str, &str)]) -> String {
    let slot = seen.slot.map(|slot| slot.to_string());
    let slot = slot.as_deref().map(|slot| ("slot", slot));
    let pairs: Vec<_> =
        [("resource", seen.resource.as_str())].into_iter().chain(slot).chain(more.iter().copied()).collect();
    labels(&pairs)
}

/// Adds a metric with its samples: their labels and values.
fn metric<V: Display>(text: &mut String, name: &str, help: &str, samples: impl IntoIterator<Item = (impl Display, V)>) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "# TYPE leaderrun_{name} gauge\n# HELP leaderrun_{name} {help}.");
    for (labels, value) in samples {
        let _ = writeln!(text, "leaderrun_{name}{labels} {value}");
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| one_line(value).replace('\\', "\\\\").replace('"', "\\\"");
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn seconds(time: SystemTime) -> String {
    format!("{:.3}", time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_any_name_on_one_line() {
        assert_eq!(labels(&[("a", "x\"y\\z\nw\x1b[2J")]), r#"{a="x\"y\\z?w?[2J"}"#);
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.prom");
        for text in ["first", "second"] {
            replace(&file, text.as_bytes()).expect("a written file");
            assert_eq!(fs::read_to_string(&file).expect("a file"), text);
        }
        assert!(replace(&folder.path().join("none/a.prom"), b"").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
