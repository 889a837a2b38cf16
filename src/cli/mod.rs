//! The command line: its options, their values and the two help texts. The man page and the completions are generated
//! from it.

mod errors;
mod given;
mod options;
mod precedence;
mod questions;
mod short_help;
mod values;
mod variables;

pub(crate) use self::{
    options::Cli,
    precedence::parse,
    values::{LocalLock, LogFormat, ReadyWhen, Shell},
    variables::Variables,
};
