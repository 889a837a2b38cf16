//! Notifications to systemd with sd_notify(3): ready, status, stopping, and that the elector is alive. Does nothing if
//! NOTIFY_SOCKET is unset.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use sd_notify::NotifyState;

use crate::{cli::ReadyWhen, event::Event};

/// How long to wait for a busy manager to take the last notification.
const LAST_NOTIFICATION: Duration = Duration::from_secs(1);

/// The variables of the notify socket. The command doesn't get them: it must not use the socket as well.
pub(crate) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The variables that name the process that they, or others, are for: sd_listen_fds(3), sd_watchdog_enabled(3),
/// systemd.exec(5).
pub(crate) const PID_VARIABLES: [&str; 3] = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"];

/// The same by the inode of a pidfd. It is optional beside the process id.
pub(crate) const PIDFD_VARIABLES: [&str; 1] = ["LISTEN_PIDFDID"];

/// Returns whether this process belongs to a unit of systemd (systemd.exec(5), INVOCATION_ID).
pub(crate) fn has_unit() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

#[derive(Debug)]
enum ServiceState {
    Ready,
    Stopping,
    Status(String),
    Alive,
}

/// leaderrun as a service of systemd.
#[derive(Debug)]
pub(crate) struct Service {
    ready_when: ReadyWhen,
    notifications: Sender<ServiceState>,
}

/// Waits until systemd has got the last notification.
pub(crate) struct Stopped(Receiver<()>);

impl Service {
    /// Starts to notify. A thread sends the notifications, since the manager may not read for a long time. Requires a
    /// runtime, which sends those of the watchdog: they prove that it runs.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start(ready_when: ReadyWhen) -> Result<(Self, Stopped)> {
        let (notifications, received) = channel();
        let (stopped, has_stopped) = channel();
        let send = move || {
            for notification in received {
                // It fails if there is no socket, or nobody listens on it. Nobody wants to know then.
                let _ = sd_notify::notify(&[match &notification {
                    ServiceState::Ready => NotifyState::Ready,
                    ServiceState::Stopping => NotifyState::Stopping,
                    ServiceState::Status(status) => NotifyState::Status(status),
                    ServiceState::Alive => NotifyState::Watchdog,
                }]);
                if matches!(notification, ServiceState::Stopping) {
                    let _ = stopped.send(());
                }
            }
        };
        thread::Builder::new().stack_size(64 * 1024).spawn(send).context("can't start a thread to notify systemd")?;
        if let Some(within) = sd_notify::watchdog_enabled() {
            let notifications = notifications.clone();
            tokio::spawn(async move {
                while notifications.send(ServiceState::Alive).is_ok() {
                    // As sd_watchdog_enabled(3) recommends.
                    tokio::time::sleep(within / 2).await;
                }
            });
        }
        Ok((Service { ready_when, notifications }, Stopped(has_stopped)))
    }

    /// Notifies systemd of an event, if it is one that matters to it.
    pub(crate) fn pass_on(&self, event: Event, message: &str) {
        let ready = match event {
            Event::StandsBy => self.ready_when == ReadyWhen::Standby,
            Event::Started => true,
            Event::Leads | Event::Lost | Event::StepsDown | Event::TimedOut | Event::Ended | Event::NoQuorum => false,
            _ => return,
        };
        if ready {
            self.notify(ServiceState::Ready);
        }
        self.notify(ServiceState::Status(message.to_owned()));
    }

    /// Notifies systemd that leaderrun is stopping.
    pub(crate) fn stop(&self) {
        self.notify(ServiceState::Stopping);
    }

    fn notify(&self, notification: ServiceState) {
        let _ = self.notifications.send(notification);
    }
}

impl Stopped {
    /// Waits until systemd knows that leaderrun is stopping, for 1 s at most.
    pub(crate) fn wait(self) {
        let _ = self.0.recv_timeout(LAST_NOTIFICATION);
    }
}
