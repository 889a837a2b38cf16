//! Runs a command under the `using` function of rslock.

use std::time::Duration;

pub fn run(args: &[String]) {
    let [urls, resource, ttl, command @ ..] = args else { panic!("rslock URLS RESOURCE SECONDS COMMAND...") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let manager = rslock::LockManager::new(urls.split(',').collect());
        let ttl = Duration::from_secs(ttl.parse().expect("a number"));
        let ran = manager.using(resource.as_bytes(), ttl, async || {
            tokio::process::Command::new(&command[0]).args(&command[1..]).status().await
        });
        ran.await.expect("a lock").expect("a command");
    });
}
