//! The command line, as far as it can be read without running anything.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use super::is_one_line;
use crate::{cli, commands::Query, program::Program, settings::Settings, usage};

/// Takes the arguments between NULs.
pub fn command_line(data: &[u8]) {
    let words = data.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let arguments: Vec<OsString> = std::iter::once("leaderrun".into()).chain(words).collect();
    let cli = match cli::parse(&arguments, &[]) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return is_one_line(&usage::explain(&error)),
        Err(_) => return,
    };
    let command = match cli.shell_line.clone() {
        Some(line) => vec!["sh".into(), "-c".into(), line],
        None => cli.command.clone(),
    };
    match Query::from_cli(&cli) {
        Ok(Some(_)) => {}
        Ok(None) => match Settings::try_from(cli) {
            Ok(settings) => is_sound(&settings, &command),
            Err(error) => is_one_line(&error.to_string()),
        },
        Err(error) => is_one_line(&error.to_string()),
    }
}

/// Panics if the settings promise what can't be held, or would run another command.
fn is_sound(settings: &Settings, command: &[OsString]) {
    let Settings { times, program: Program { path, args }, .. } = settings;
    assert!(times.margin() + times.drift() < times.ttl(), "{times:?}");
    assert_eq!(args.as_slice(), command);
    let name = Path::new(&command[0]);
    assert_eq!(name.file_name().map(OsStrExt::as_bytes), path.file_name().map(OsStrExt::as_bytes));
}
