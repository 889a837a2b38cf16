//! The command: its file, found before leaderrun competes for the lease, and its arguments, byte for byte.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};

/// A command whose file was found.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The file to execute.
    pub path: PathBuf,
    /// The arguments. The first is the name of the command as it was given.
    pub args: Vec<OsString>,
}

/// Why a command can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProgramError {
    NotFound,
    NotExecutable(PathBuf),
}

impl Program {
    /// Finds the file of `args[0]` as execvp(3) does. A name with a slash is a path; any other is searched for in the
    /// directories of `path`, where an empty part means the current directory.
    ///
    /// # Errors
    /// There is no such file, or none that is executable.
    pub(crate) fn find(args: Vec<OsString>, path: Option<&OsStr>) -> Result<Self, ProgramError> {
        let name = args.first().map(OsString::as_os_str).unwrap_or_default();
        let candidates: Vec<PathBuf> = if name.is_empty() {
            Vec::new()
        } else if name.as_bytes().contains(&b'/') {
            vec![PathBuf::from(name)]
        } else {
            let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
            std::env::split_paths(path)
                .map(|dir| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir })
                .map(|dir| dir.join(name))
                .collect()
        };
        if let Some(found) = candidates.iter().find(|c| is_executable(c)) {
            let path = found.clone();
            return Ok(Program { path, args });
        }
        match candidates.into_iter().find(|c| c.exists()) {
            Some(file) => Err(ProgramError::NotExecutable(file)),
            None => Err(ProgramError::NotFound),
        }
    }

    /// Returns the name of the command as it was given, for messages.
    pub(crate) fn name(&self) -> String {
        self.args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Returns whether this process may execute a file. Calls access(2), since older container profiles refuse faccessat(2)
/// with flags; the two differ only in a setuid program.
fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}
