//! A resource whose list of nodes changes while its instances lead: from all nodes of its cluster to two of them and back,
//! each time by way of both (`--redis-before`). All instances get both lists before the first one drops the old one.

use super::INSTANCES;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lists {
    /// Odd while a change is under way.
    stage: usize,
    /// With which stage each instance was started.
    running: [usize; INSTANCES],
}

impl Lists {
    /// Returns the options of an instance that starts now, from the URLs of all nodes.
    pub(crate) fn options(&mut self, instance: usize, urls: &str) -> Vec<String> {
        self.running[instance] = self.stage;
        let few = urls.split_once(',').map_or(urls, |(_, few)| few);
        let (now, before) = match self.stage % 4 {
            0 => (urls, None),
            1 => (few, Some(urls)),
            2 => (few, None),
            _ => (urls, Some(few)),
        };
        let options = ["-R", now].into_iter().chain(before.into_iter().flat_map(|before| ["--redis-before", before]));
        options.map(ToOwned::to_owned).collect()
    }

    /// Goes on with a change, or begins the next one. Returns an instance that is to start again, if one has the last stage's
    /// lists.
    pub(crate) fn go_on(&mut self) -> Option<usize> {
        let behind = |lists: &Self| lists.running.iter().position(|&stage| stage != lists.stage);
        if behind(self).is_none() {
            self.stage += 1;
        }
        behind(self)
    }
}
