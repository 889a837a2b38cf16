//! The result of a campaign.

use std::{fmt, time::Duration};

use super::{TTL, faults::Faults, instances::Resource, nodes::Nodes};
use crate::support::Counters;

pub(crate) struct Verdict {
    minutes: f64,
    faults: Vec<(String, usize)>,
    leaderships: usize,
    overlaps: usize,
    tokens_out_of_order: usize,
    left_over: usize,
    /// How often leaders have added to what they share, and how much of that is lost.
    additions: usize,
    lost: usize,
    longest_without_leader: Vacancy,
}

/// A time without a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Vacancy {
    lasted: Duration,
    resource: String,
    /// When it ended, as the witnesses recorded it.
    until: u64,
}

/// Returns the longest time without a leader that the protocol allows while a quorum is up and nothing else happens.
/// The outstanding votes expire (a ttl and its drift); a broken connection is retried after at most half a ttl, and
/// takes up to ttl/5; then comes a standby's turn, and one more round if the first was split.
pub(crate) fn bound() -> Duration {
    TTL + TTL / 100 + Duration::from_millis(2) + TTL / 2 + TTL / 5 + Duration::from_millis(300)
}

impl Verdict {
    pub(crate) fn of(
        faults: &Faults,
        nodes: &Nodes,
        resources: &[Resource],
        span: (u64, u64),
        left_over: usize,
    ) -> Self {
        let sum = |count: fn(&Resource) -> usize| resources.iter().map(count).sum();
        let longest = |r: &Resource| longest_without_leader(r, &nodes.clusters[r.cluster].quorum, span);
        let counted = || resources.iter().filter_map(|resource| resource.counters.as_ref());
        // A list of two nodes has no quorum while one of them fails.
        let longest = resources.iter().filter(|resource| resource.lists.is_none()).map(longest).max();
        Verdict {
            minutes: Duration::from_nanos(span.1 - span.0).as_secs_f64() / 60.0,
            faults: faults.by_kind.iter().map(|(kind, number)| (format!("{kind:?}"), *number)).collect(),
            leaderships: sum(|r| r.watch.all.len()),
            overlaps: sum(|r| r.watch.overlaps.len()),
            tokens_out_of_order: sum(|r| r.watch.tokens_out_of_order),
            left_over,
            additions: counted().map(|counters| counters.added("file") + counters.added("redis")).sum(),
            lost: counted().flat_map(Counters::lost).sum(),
            longest_without_leader: longest.unwrap_or_default(),
        }
    }

    pub(crate) fn assert_sound(&self) {
        let bad = self.overlaps + self.tokens_out_of_order + self.left_over + self.lost;
        assert_eq!(bad, 0, "{self}");
        assert!(self.additions > 0, "{self}");
        assert!(self.longest_without_leader.lasted <= bound(), "{self}");
        assert!(self.leaderships as f64 > 10.0 * self.minutes, "{self}");
    }
}

/// Counts only while a quorum is up, from the last time that a process of this resource was made to fail or to
/// continue.
fn longest_without_leader(resource: &Resource, quorum: &[(u64, bool)], (began, ended): (u64, u64)) -> Vacancy {
    let mut longest = Vacancy::default();
    let mut last = began;
    // A stopped command writes nothing but still leads.
    let mut led: Vec<(u64, u64)> = resource.watch.all.iter().map(|l| (l.start, l.last)).collect();
    led.extend(&resource.stopped);
    led.push((ended, ended));
    led.sort();
    for (start, next_last) in led {
        for (index, &(up, _)) in quorum.iter().enumerate().filter(|(_, (_, up))| *up) {
            let down = quorum.get(index + 1).map_or(ended, |(down, _)| *down);
            let (from, until) = (up.max(last), down.min(start).min(ended));
            if from >= until {
                continue;
            }
            let cuts = resource.disturbed.iter().copied().filter(|&at| from < at && at < until);
            let marks: Vec<u64> = [from].into_iter().chain(cuts).chain([until]).collect();
            for pair in marks.windows(2) {
                let lasted = Duration::from_nanos(pair[1] - pair[0]);
                longest = longest.max(Vacancy { lasted, resource: resource.name.clone(), until: pair[1] });
            }
        }
        last = last.max(next_last);
    }
    longest
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults by kind:")?;
        for (kind, number) in &self.faults {
            writeln!(f, "  {kind:<18} {number:>6}")?;
        }
        let faults: usize = self.faults.iter().map(|(_, number)| number).sum();
        writeln!(f, "minutes                     {:.1}", self.minutes)?;
        writeln!(f, "faults                      {faults}")?;
        writeln!(f, "leaderships                 {}", self.leaderships)?;
        writeln!(f, "overlaps                    {}", self.overlaps)?;
        writeln!(f, "tokens out of order         {}", self.tokens_out_of_order)?;
        writeln!(f, "processes left over         {}", self.left_over)?;
        writeln!(f, "additions to counters       {}", self.additions)?;
        writeln!(f, "additions lost              {}", self.lost)?;
        let Vacancy { lasted, resource, until } = &self.longest_without_leader;
        writeln!(f, "longest without a leader    {} ms ({resource}, until {until})", lasted.as_millis())?;
        write!(f, "  while a quorum was up; the protocol's times give at most {} ms", bound().as_millis())
    }
}
