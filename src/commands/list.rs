//! `--list`: every resource that the nodes, or this machine, know of.

use std::path::Path;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{
    history::{RunReport, end},
    metrics::{self, Place, Resource, Standbys},
    output::{complain, say, say_json},
    shown::{shown_duration, shown_start},
    table,
};
use crate::{
    exit::Exit,
    history::Run,
    lease::{Times, Turnout},
    local,
    observer::Observer,
    redlock::{Listing, RedlockConfig, RedlockObserver},
    settings::BackendConfig,
    status::LeaderStatus,
};

/// How many resources are looked at at once.
const AT_ONCE: usize = 16;

/// How many runs are looked at for the last one that is over.
const RECENT: usize = 3;

/// The list as JSON.
#[derive(Serialize)]
struct ListReport<'a> {
    /// With a quorum, no resource is missing.
    #[serde(flatten)]
    turnout: &'a Turnout,
    resources: Vec<ResourceReport<'a>>,
}

/// A resource as JSON.
#[derive(Serialize)]
struct ResourceReport<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    /// Whether its leader is known.
    known: bool,
    leader: Option<&'a LeaderStatus>,
    bare_quorum: bool,
    last_run: Option<RunReport<'a>>,
}

/// Lists the resources of the nodes, or writes their metrics to a file. Exit status: 0, or 69 without a quorum.
pub(super) async fn of_nodes(config: &RedlockConfig, times: Times, json: bool, metrics: Option<&Path>) -> Result<Exit> {
    let nodes = RedlockObserver::open(config, "", times, None);
    let Listing { names, is_cut_off, turnout } = nodes.list().await;
    let look = |(name, slots): (String, u16)| {
        let mut observer = Observer::Redlock(nodes.of_listed(&name));
        async move {
            let seen = observer.look_back_at_all(slots, RECENT).await;
            (seen, standbys_for(metrics, &observer, &name).await)
        }
    };
    let looks = stream::iter(names.into_iter().map(look)).buffered(AT_ONCE);
    let (resources, standbys): (Vec<Vec<Resource>>, Vec<Option<Standbys>>) = looks.unzip().await;
    let resources: Vec<Resource> = resources.into_iter().flatten().collect();
    let standbys: Vec<Standbys> = standbys.into_iter().flatten().collect();
    if is_cut_off {
        let shown = resources.len();
        complain(format_args!("the list ends after {shown}, and there are more; give a longer --key-prefix"));
    }
    if let Some(file) = metrics {
        let voters = nodes.count_voters().await;
        let place = Place::Nodes { resource: None, all: config.addresses.len(), voters, known: turnout.known };
        metrics::write(file, &resources, &standbys, place)?;
        return Ok(Exit::Command(0));
    }
    if !turnout.known {
        complain(format_args!("not all resources may be known: {turnout}"));
    }
    print(&turnout, &resources, json)?;
    Ok(if turnout.known { Exit::Command(0) } else { Exit::NoQuorum })
}

/// Lists the resources of this machine, or writes their metrics to a file.
pub(super) async fn of_this_machine(times: Times, json: bool, metrics: Option<&Path>) -> Result<Exit> {
    let (mut resources, mut standbys): (Vec<Resource>, Vec<_>) = Default::default();
    for name in local::resources()? {
        let mut observer = Observer::open(&BackendConfig::Local { file: None }, &name, times, None)?;
        resources.extend(observer.look_back_at_all(1, RECENT).await);
        standbys.extend(standbys_for(metrics, &observer, &name).await);
    }
    match metrics {
        Some(file) => metrics::write(file, &resources, &standbys, Place::ThisMachine)?,
        None => print(&Turnout::of_this_machine(), &resources, json)?,
    }
    Ok(Exit::Command(0))
}

/// Returns how many stand by for a resource, if that is known, and the metrics want to know it.
async fn standbys_for(metrics: Option<&Path>, observer: &Observer, name: &str) -> Option<Standbys> {
    metrics?;
    Some((name.to_owned(), observer.standbys().await?))
}

fn print(turnout: &Turnout, resources: &[Resource], json: bool) -> Result<()> {
    if json {
        let resources = resources.iter().map(report).collect();
        return say_json(&ListReport { turnout, resources });
    }
    Ok(table::lines(&rows(resources)).iter().try_for_each(say)?)
}

fn report((seen, history): &Resource) -> ResourceReport<'_> {
    ResourceReport {
        resource: &seen.resource,
        slot: seen.slot,
        known: seen.known,
        leader: seen.leader.as_ref(),
        bare_quorum: seen.bare_quorum,
        last_run: history.last_run().map(RunReport::new),
    }
}

fn rows(resources: &[Resource]) -> Vec<[String; 6]> {
    let heading = ["RESOURCE", "LEADER", "SINCE", "LEFT", "TOKEN", "LAST RUN"].map(ToOwned::to_owned);
    let dash = || "-".to_owned();
    let row = |(seen, history): &Resource| {
        let leader = seen.active_leader();
        let left = seen.leader.as_ref().and_then(|leader| leader.safe_for);
        let token = leader.map(|leader| leader.token).or_else(|| history.runs.first().map(|run| run.token));
        [
            seen.name(),
            if seen.known { leader.map_or_else(dash, |leader| leader.holder.clone()) } else { "not known".into() },
            leader.map_or_else(dash, |leader| leader.since.clone()),
            left.map_or_else(dash, |left| format!("{:.1} s", left.as_secs_f64())),
            token.map_or_else(dash, |token| token.to_string()),
            history.last_run().map_or_else(dash, last_run),
        ]
    };
    [heading].into_iter().chain(resources.iter().map(row)).collect()
}

fn last_run(run: &Run) -> String {
    let ran = run.ran().map(|ran| format!(" after {}", shown_duration(ran))).unwrap_or_default();
    format!("{}{ran}, on {}, began {}", end(run), run.holder, shown_start(run.start))
}
