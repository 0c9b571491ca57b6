//! What `build` is given: a folder, a URL or standard input, and where the Dockerfile is.

use std::ffi::OsString;
use std::io::{self, Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_build::{
    BuildContext, ContextFolder, NamedContext, Remote, SourceError, Sources, WebContext, is_archive,
};
use plimsoll_diagnostics::Source;
use plimsoll_progress::Progress;

use crate::command_error::{CommandError, Kind};

/// A Dockerfile of more bytes than this is a mistake.
const MAX_DOCKERFILE: u64 = 16 << 20;
/// Bytes that tell an archive from a Dockerfile.
const HEAD: u64 = 512;
/// What git gets of the environment.
const GIT_ENVIRONMENT: [&str; 10] = [
    "PATH",
    crate::env::SSH_AUTH_SOCK,
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// A Dockerfile with its context, kept on disk as long as this lives.
pub(super) struct Given {
    pub(super) dockerfile: Source,
    pub(super) context: BuildContext,
    pub(super) folder: Option<ContextFolder>,
}

/// `-f`.
pub(super) enum File<'a> {
    /// `Dockerfile` in the context.
    Default,
    /// This text.
    Inline(&'a Source),
    Path(&'a str),
    Stdin,
    Url(&'a str),
}

impl<'a> File<'a> {
    /// What `-f` says, unless the Dockerfile is there already.
    pub(super) fn of(given: Option<&'a str>, inline: Option<&'a Source>) -> Self {
        if let Some(text) = inline {
            return Self::Inline(text);
        }
        match given {
            None => Self::Default,
            Some("-") => Self::Stdin,
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => Self::Url(url),
            Some(path) => Self::Path(path),
        }
    }
}

impl File<'_> {
    /// The Dockerfile, when it is not in the context.
    async fn elsewhere(
        &self,
        sources: &Sources,
        progress: &Progress,
    ) -> Result<Option<Source>, CommandError> {
        match self {
            Self::Inline(text) => Ok(Some((*text).clone())),
            Self::Stdin => Ok(Some(text("<stdin>", io::stdin())?)),
            Self::Url(url) => Ok(Some(sources.web_dockerfile(url, progress).await?)),
            Self::Default | Self::Path(_) => Ok(None),
        }
    }

    /// Where it is in a context that was fetched.
    fn inside(&self) -> &str {
        match self {
            Self::Path(path) => path,
            _ => "Dockerfile",
        }
    }
}

/// What git gets of this program's environment.
pub(crate) fn git_environment() -> Vec<(String, OsString)> {
    let variable = |name: &str| Some((name.to_owned(), std::env::var_os(name)?));
    GIT_ENVIRONMENT.into_iter().filter_map(variable).collect()
}

/// Opens the context PATH, URL or `-`, and the Dockerfile that `file` names.
pub(super) async fn given(
    path: &str,
    file: &File<'_>,
    sources: &Sources,
    progress: &Progress,
    keep_git_dir: bool,
) -> Result<Given, CommandError> {
    if path == "-" {
        return from_stdin(file, sources, progress).await;
    }
    let remote = match Path::new(path).exists() {
        true => None,
        false => Remote::parse_context(path)?,
    };
    match remote {
        None => from_folder(path, file, sources, progress).await,
        Some(Remote::Git(url)) => {
            let url = url.keeping_git_dir(keep_git_dir);
            let folder = sources.checkout(&url, progress).await?;
            from_fetched(folder, file, sources, progress).await
        }
        Some(Remote::Http(url)) => match sources.web_context(&url, progress).await? {
            WebContext::Folder(folder) => from_fetched(*folder, file, sources, progress).await,
            WebContext::Dockerfile(dockerfile) => alone(dockerfile, file),
        },
    }
}

async fn from_stdin(file: &File<'_>, sources: &Sources, progress: &Progress) -> Result<Given, CommandError> {
    if matches!(file, File::Stdin) {
        return Err(CommandError::usage(
            "Dockerfile and context cannot both come from standard input",
        ));
    }
    let mut head = Vec::new();
    let read = io::stdin().take(HEAD).read_to_end(&mut head);
    read.map_err(|error| CommandError::internal("cannot read standard input", error))?;
    let archive = is_archive(&head);
    let whole = Cursor::new(head).chain(io::stdin());
    if archive {
        let folder = sources
            .unpack(whole, "the archive on standard input", progress)
            .await?;
        return from_fetched(folder, file, sources, progress).await;
    }
    if let File::Url(_) = file {
        return Err(not_an_archive());
    }
    alone(text("<stdin>", whole)?, file)
}

/// A Dockerfile without files.
fn alone(dockerfile: Source, file: &File<'_>) -> Result<Given, CommandError> {
    match file {
        File::Default => Ok(Given {
            dockerfile,
            context: BuildContext::empty(),
            folder: None,
        }),
        _ => Err(not_an_archive()),
    }
}

fn not_an_archive() -> CommandError {
    CommandError::usage("`-f` names a Dockerfile, but the context is not an archive: it is one itself")
        .hint("leave out `-f`, or give a tar archive that has the Dockerfile in it")
}

async fn from_fetched(
    folder: ContextFolder,
    file: &File<'_>,
    sources: &Sources,
    progress: &Progress,
) -> Result<Given, CommandError> {
    let elsewhere = file.elsewhere(sources, progress).await?;
    let context = folder.context(elsewhere.is_none().then(|| file.inside()))?;
    let dockerfile = match elsewhere {
        Some(dockerfile) => dockerfile,
        None => folder.dockerfile(file.inside())?,
    };
    Ok(Given {
        dockerfile,
        context,
        folder: Some(folder),
    })
}

async fn from_folder(
    folder: &str,
    file: &File<'_>,
    sources: &Sources,
    progress: &Progress,
) -> Result<Given, CommandError> {
    if let Some(dockerfile) = file.elsewhere(sources, progress).await? {
        return Ok(Given {
            dockerfile,
            context: BuildContext::open(Path::new(folder), None)?,
            folder: None,
        });
    }
    let path = match file {
        File::Path(path) => PathBuf::from(path),
        _ => Path::new(folder).join("Dockerfile"),
    };
    let read = match file {
        // Who names a pipe means it.
        File::Path(_) => std::fs::read(&path),
        _ => plimsoll_build::read_plain(&path),
    };
    let bytes = read.map_err(|error| unreadable(folder, file, &path, error))?;
    let dockerfile = utf8(&path.to_string_lossy(), bytes)?;
    Ok(Given {
        dockerfile,
        context: BuildContext::open(Path::new(folder), Some(&path))?,
        folder: None,
    })
}

/// Reads a Dockerfile from a stream.
fn text(name: &str, stream: impl io::Read) -> Result<Source, CommandError> {
    let mut bytes = Vec::new();
    let read = stream.take(MAX_DOCKERFILE).read_to_end(&mut bytes);
    read.map_err(|error| CommandError::internal("cannot read the Dockerfile from standard input", error))?;
    utf8(name, bytes)
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<Source, CommandError> {
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::user(format!("`{name}` is not a Dockerfile: it is not UTF-8 text")))?;
    Ok(Source::new(name, text))
}

fn unreadable(folder: &str, file: &File<'_>, path: &Path, error: io::Error) -> CommandError {
    let not_found = error.kind() == io::ErrorKind::NotFound;
    let message = format!("cannot read Dockerfile `{}`", path.display());
    let failure = CommandError::new(
        Kind::User,
        Unreadable {
            message,
            source: error,
        },
    );
    if not_found && matches!(file, File::Default) && !Path::new(folder).exists() {
        return failure.hint(format!("the folder `{folder}` does not exist"));
    }
    match not_found {
        true => failure.hint("name the file with `-f FILE`; its path is relative to the current folder"),
        false => failure,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Unreadable {
    message: String,
    source: io::Error,
}

/// `--build-context NAME=VALUE`
pub(super) fn named_context(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => {
            Err("expected NAME=VALUE, such as `base=docker-image://alpine` or `assets=../assets`".to_owned())
        }
    }
}

/// Opens the named contexts.
pub(super) fn contexts(given: &[(String, String)]) -> Result<Vec<(String, NamedContext)>, CommandError> {
    let open = |(name, value): &(String, String)| Ok((name.clone(), NamedContext::open(name, value)?));
    given.iter().map(open).collect()
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        let hint = error.hint();
        let failure = match error {
            SourceError::Context(error) => error.into(),
            SourceError::Image(error) => error.into(),
            SourceError::Store(error) => error.into(),
            error => Self::new(Kind::User, error),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
/// Returns when the last commit of the repository was made that a folder is in, in seconds since 1970.
pub(super) fn last_commit(folder: &str) -> Option<String> {
    let mut git = Command::new("git");
    git.args(["-C", folder, "log", "-1", "--format=%ct"])
        .env_clear()
        .envs(git_environment());
    let output = git.stderr(Stdio::null()).output().ok()?;
    let time = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| time.trim().to_owned())
        .filter(|time| !time.is_empty())
}
