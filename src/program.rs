//! The command: found in PATH before anything is locked, with its arguments as they were given.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};

/// A command that could be found.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file to run.
    pub path: PathBuf,
    /// The arguments; the first is the name that the command was called by.
    pub args: Vec<OsString>,
}

/// Why a command can't be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramError {
    NotFound,
    NotExecutable(PathBuf),
}

impl Program {
    /// Looks `args[0]` up as execvp(3) does: a name with a slash is a path, another is searched for in `path`, where an
    /// empty part is the current directory.
    pub fn find(args: Vec<OsString>, path: Option<&OsStr>) -> Result<Self, ProgramError> {
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
            Some(there) => Err(ProgramError::NotExecutable(there)),
            None => Err(ProgramError::NotFound),
        }
    }

    /// The name that the command was called by, for messages.
    pub fn name(&self) -> String {
        self.args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// By access(2): faccessat(2) with flags is a system call that older container profiles refuse. It differs only in a setuid program.
fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}
