//! The options that ask something instead of running a command, and those that only go with them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, value_parser};

use super::values::{Shell, duration};

pub(super) const QUESTIONS: &str = "Questions, instead of a command";

/// What is asked. At most one of the group `question` is set.
#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct Questions {
    /// Print who leads (--watch: and every change)
    ///
    /// Prints who leads, since when, with which fencing token, for how long at least, whether on a bare quorum (one node
    /// less would lose the lease), how the last run ended, how many instances stand by, and what each node reports.
    /// With --once-for KEY also whether KEY has succeeded and, if not, how often it has failed (with --attempts).
    /// Doesn't disturb an election. Exit status: 0 an instance leads, 1 none does, 69 no quorum of nodes answered.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub status: bool,

    /// Exit with 0 if HOLDER leads
    ///
    /// For health checks: prints nothing. Exit status: 0 HOLDER leads, 1 it doesn't, 69 no quorum of nodes answered.
    /// Start the instance with a --holder that the health check knows. The last answer takes ttl/4, 3.8 s by default: with
    /// --ttl 3s it fits into a timeout of 1 s. That need not be the ttl of the instances.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, value_name = "HOLDER", group = "question", conflicts_with = "command")]
    pub leads: Option<String>,

    /// Print a line for each change of leader
    ///
    /// Runs until it is interrupted. Counts as one more subscriber on each node.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub watch: bool,

    /// Print the last N runs, and how each ended [default: 20]
    ///
    /// Prints when each run began, how long it ran, on which instance, with which fencing token, and how it ended: its
    /// exit status or signal, a lost lease, a step-down, or that it died, so that nobody could say how. Says so if runs
    /// overlap or fencing tokens decrease. The nodes keep the last 100 runs, for 30 days after the last one. Exit status: 0
    /// all is well, 1 something is wrong, 69 no quorum of nodes answered.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, value_name = "N", group = "question", conflicts_with = "command")]
    #[arg(num_args = 0..=1, default_missing_value = "20", value_parser = value_parser!(u8).range(1..=100))]
    pub history: Option<u8>,

    /// Exit with 0 if the command has succeeded within DURATION
    ///
    /// For monitors: prints the last success, or why it is missing. At most 30days. With several slots, each needs one:
    /// a slot may be a shard of a job. Give --slots N as well, since a slot that was never led isn't known, or
    /// --slot K for one of them. Exit status: 0 a success is on record, 1 none is, 69 no quorum of nodes answered.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, value_name = "DURATION", group = "question", value_parser = duration)]
    #[arg(conflicts_with_all = ["command", "once_for", "once_per"], allow_hyphen_values = true)]
    pub succeeded_within: Option<Duration>,

    /// Print every resource: who leads, and the last run
    ///
    /// Lists the resources under --key-prefix that have been led within 30 days, up to a thousand; with --local, those of
    /// this machine. With --json, "known" says whether a quorum of nodes answered: for the list, so that no resource is
    /// missing, and for each resource. Takes no --resource, and ignores LEADERRUN_RESOURCE: about one resource, ask
    /// --status. Exit status: 0, or 69 if no quorum of nodes answered.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, group = "question", conflicts_with_all = ["command", "resource"])]
    pub list: bool,

    /// Write metrics to FILE, with --status or --list
    ///
    /// For the textfile collector of Prometheus' node_exporter: who leads and since when, fencing tokens, standbys, the last success
    /// and its age, the duration of the last run, runs by result (as --history --json has it: "leads" is under way,
    /// "died" ended without a word), and how many nodes can vote. Prints nothing, and exits with 0 once the file is
    /// written, in one step, for all users to read. With --status, each metric has the resource as a label, so that several files
    /// may lie in one folder. With - for FILE, prints them.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "json"])]
    pub openmetrics: Option<PathBuf>,

    /// Check the nodes: problems and suggested fixes
    ///
    /// Prints a table of the nodes, problems, suggested fixes and a summary. Runs nothing and leaves nothing on the
    /// nodes. With --resource it uses the keys of that name, for users whose rights cover no others. Exit status: 0 no
    /// problems, 1 problems, 69 no quorum of nodes can vote.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub check: bool,

    /// Ask the leader to step down gracefully
    ///
    /// The leader stops its command with its own --signal and --stop-timeout, and another instance leads. The leader gets
    /// the request when it next extends its lease, within a third of its ttl. It then exits with 76, or stands by again
    /// with --rejoin. Returns when another instance leads, or reports why not after --wait [default: two ttl]. Exit
    /// status: 0 the leader stepped down, 1 none leads, 75 it still leads, 69 too few nodes could be reached.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub step_down: bool,

    /// Let --step-down ask only if an instance stands by
    ///
    /// Otherwise the leader goes on, and the exit status is 75, or 69 if too few nodes could say.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, requires = "step_down", conflicts_with_all = ["command", "shell_line"])]
    pub if_standby: bool,

    /// The slot for --step-down or --succeeded-within
    ///
    /// --step-down needs it if the resource has several (--slots).
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, value_name = "K", value_parser = value_parser!(u16).range(1..=64))]
    pub slot: Option<u16>,

    /// Delete what is recorded of successes and failures
    ///
    /// Deletes the record that --once-per has left, or with --once-for KEY that of KEY, so that the command can run
    /// again. The lock and the fencing token stay. A command that runs now still records its end. With --local, nobody
    /// may lead meanwhile. Exit status: 0 nothing is recorded any more, 75 (--local) an instance leads, 69 a node could
    /// not be reached, and may still have the record.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub forget: bool,

    /// Print JSON, with a question
    ///
    /// With --check, --status, --watch, --forget, --list, --history and --succeeded-within.
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long)]
    pub json: bool,

    /// Print the completions for SHELL
    ///
    /// For packages: leaderrun --completions bash >/usr/share/bash-completion/completions/leaderrun
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, value_name = "SHELL", group = "question", conflicts_with = "command", value_enum)]
    pub completions: Option<Shell>,

    /// Print the man page
    ///
    /// Read it with: leaderrun --man | man -l -
    #[arg(help_heading = QUESTIONS, hide_short_help = true)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub man: bool,
}
