//! The command: its file, found before leaderrun competes for the lease, and its arguments, byte for byte.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};

use crate::regular_file;

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

/// How much of a script the kernel reads to find its interpreter.
const FIRST_LINE: u64 = 256;

impl ProgramError {
    /// Returns it as a word, for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            ProgramError::NotFound => "not_found",
            ProgramError::NotExecutable(_) => "cannot_run",
        }
    }
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

    /// Returns why the kernel has refused to run it. The file itself was found, so that the error is mostly about another.
    pub(crate) fn why_not_run(&self, errno: Errno) -> String {
        match interpreter(&self.path).filter(|_| matches!(errno, Errno::ENOENT | Errno::EACCES)) {
            // Quoted: the end of a line from another system is part of the name.
            Some(interpreter) => format!("bad interpreter {interpreter:?}: {}", errno.desc()),
            None => errno.desc().to_owned(),
        }
    }
}

/// Returns the interpreter that the first line of a script names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    let file = regular_file::open(script, OpenOptions::new().read(true)).ok()?;
    file.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let name = line.split(|byte| b" \t".contains(byte)).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// Returns whether this process may execute a file. Calls access(2), since older container profiles refuse faccessat(2)
/// with flags; the two differ only in a setuid program.
fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}
