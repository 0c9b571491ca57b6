//! Git repositories, through the installed `git`.
//!
//! `contexts/git-<hash of the remote>/` is a bare repository with the commits that were wanted, each shallow and held
//! by `refs/plimsoll/<commit>`: that reference is made when all of the commit is there, so a fetch that was killed is
//! simply done again. Whoever uses the repository holds the lock `git-<hash>`.
//!
//! What is checked out may be an attacker's. git therefore sees no configuration of the host, no hooks, no templates
//! and no filters, asks nobody for passwords, and fetches submodules over the network only.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8PathBuf;
use plimsoll_dockerfile::nearest;
use plimsoll_oci::Digest;
use plimsoll_store::{Lock, MergedTree, Store};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use tokio::process::Command;

use super::remote::is_commit;
use super::{GitUrl, SourceError, Sources, without_credentials};

/// Options of every command.
const SAFE: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
    "protocol.allow=never",
    "protocol.git.allow=always",
    "protocol.ssh.allow=always",
];
const WEB: [&str; 2] = ["protocol.http.allow=always", "protocol.https.allow=always"];
/// As deep as any history, in git's own words.
const EVERYTHING: &str = "--depth=2147483647";

/// The cached repository of a remote, locked.
struct Repository<'a> {
    sources: &'a Sources,
    remote: &'a str,
    folder: Utf8PathBuf,
    _lock: Lock,
}

impl Sources {
    /// Returns the commit that a URL means now. A whole commit name needs no network.
    pub(crate) async fn git_commit(&self, url: &GitUrl) -> Result<String, SourceError> {
        let wanted = url.reference.as_deref().unwrap_or("HEAD");
        let commit = match is_commit(wanted) {
            true => wanted.to_ascii_lowercase(),
            false => self.find_reference(&url.remote, wanted).await?,
        };
        match &url.checksum {
            Some(expected) if !commit.starts_with(&expected.to_ascii_lowercase()) => {
                Err(SourceError::Commit {
                    url: url.shown(),
                    expected: expected.clone(),
                    actual: commit,
                })
            }
            _ => Ok(commit),
        }
    }

    /// As `git checkout` does in doubt: the branch, then the tag.
    async fn find_reference(&self, remote: &str, wanted: &str) -> Result<String, SourceError> {
        let peeled = format!("{wanted}^{{}}");
        let args = ["ls-remote", "--", remote, wanted, &peeled];
        let listed = self.git(None, "list the branches of", remote, &args).await?;
        let lines: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        let candidates = [
            format!("refs/heads/{wanted}"),
            format!("refs/tags/{peeled}"),
            format!("refs/tags/{wanted}"),
            peeled.clone(),
            wanted.to_owned(),
        ];
        let found = candidates
            .iter()
            .find_map(|candidate| lines.iter().find(|(_, name)| name == candidate));
        if let Some((commit, _)) = found {
            return Ok((*commit).to_owned());
        }
        let args = ["ls-remote", "--heads", "--tags", "--refs", "--", remote];
        let listed = self.git(None, "list the branches of", remote, &args).await?;
        let short =
            |line: &str| -> Option<String> { Some(line.split('/').skip(2).collect::<Vec<_>>().join("/")) };
        let names: Vec<String> = listed.lines().filter_map(short).collect();
        Err(SourceError::NoReference {
            url: without_credentials(remote),
            reference: wanted.to_owned(),
            nearest: nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned),
        })
    }

    /// Writes the files of a commit into `folder`, which is empty, owned by the caller: directories and programs 755,
    /// other files 644, all with the time of the commit. `aside` is a folder on the same file system for work.
    pub(crate) async fn git_checkout(
        &self,
        url: &GitUrl,
        commit: &str,
        folder: &Path,
        aside: &Path,
    ) -> Result<(), SourceError> {
        let repository = self.repository(&url.remote).await?;
        repository.fetch(commit).await?;
        let subdir = url
            .subdir
            .as_deref()
            .filter(|subdir| !matches!(*subdir, "" | "."));
        let checkout = match subdir {
            Some(_) => aside.join("checkout"),
            None => folder.to_owned(),
        };
        repository.checkout(url, commit, &checkout).await?;
        let time = repository.time(commit).await?;
        let (folder, shown) = (folder.to_owned(), url.shown());
        let keep = url.keep_git_dir;
        let subdir = subdir.map(str::to_owned);
        let finish = move || {
            if !keep || subdir.is_some() {
                let git = checkout.join(".git");
                fs::remove_dir_all(&git).map_err(SourceError::io("remove", git))?;
            }
            if let Some(subdir) = subdir {
                take_folder(&checkout, &subdir, &folder, &shown)?;
                fs::remove_dir_all(&checkout).map_err(SourceError::io("remove", checkout))?;
            }
            even_out(&folder, time, keep)
        };
        join(tokio::task::spawn_blocking(finish).await)
    }

    async fn repository<'a>(&'a self, remote: &'a str) -> Result<Repository<'a>, SourceError> {
        let name = format!("git-{}", Digest::of(remote).hex());
        let folder = self.store.root().join("contexts").join(&name);
        let lock = lock(&self.store, name).await?;
        if !folder.join("HEAD").exists() {
            let args = ["init", "-q", "--bare", "--template=", folder.as_str()];
            self.git(None, "make a repository for", remote, &args).await?;
        }
        Ok(Repository {
            sources: self,
            remote,
            folder,
            _lock: lock,
        })
    }

    /// Runs git and returns what it prints.
    async fn git(
        &self,
        folder: Option<&Path>,
        doing: &'static str,
        remote: &str,
        args: &[&str],
    ) -> Result<String, SourceError> {
        let url = without_credentials(remote);
        let mut command = Command::new("git");
        if let Some(folder) = folder {
            command.arg("-C").arg(folder);
        }
        for option in SAFE.iter().chain(&WEB) {
            command.args(["-c", option]);
        }
        command
            .args(args)
            .env_clear()
            .envs(self.git_environment(remote))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match command.output().await {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SourceError::NoGit { url }),
            Err(error) => return Err(SourceError::io("run", "git")(error)),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr).replace(remote, &url);
        Err(SourceError::Git {
            doing,
            url,
            reason: reason(&words),
        })
    }

    fn git_environment(&self, remote: &str) -> Vec<(String, OsString)> {
        let mut environment = self.environment.clone();
        let fixed = [
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            // Host keys are those the user knows; nobody is there to say yes to a new one.
            ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            ("LC_ALL", "C"),
        ];
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value.into())));
        if let Some((key, value)) = self.git_authorization(remote) {
            let header = [
                ("GIT_CONFIG_COUNT", "1".to_owned()),
                ("GIT_CONFIG_KEY_0", key),
                ("GIT_CONFIG_VALUE_0", value),
            ];
            environment.extend(header.map(|(name, value)| (name.to_owned(), value.into())));
        }
        environment
    }

    /// BuildKit's secrets, as a header for this host and no other: a token is the password of a user whose name does
    /// not matter. By way of the environment, for everybody can read a command line.
    fn git_authorization(&self, remote: &str) -> Option<(String, String)> {
        let scheme = ["https://", "http://"]
            .into_iter()
            .find(|scheme| remote.starts_with(scheme))?;
        let host = super::http::host(remote)?;
        let secret = |kind: &str| {
            let own = self.credentials.get(&format!("GIT_AUTH_{kind}.{host}"));
            own.or_else(|| self.credentials.get(&format!("GIT_AUTH_{kind}")))
        };
        let basic = |token: &String| {
            let pair = BASE64_STANDARD.encode(format!("x-access-token:{token}"));
            format!("basic {pair}")
        };
        let value = secret("HEADER").cloned().or_else(|| secret("TOKEN").map(basic))?;
        let shown = without_credentials(remote);
        let authority = shown[scheme.len()..].split('/').next().unwrap_or_default();
        let key = format!("http.{scheme}{authority}/.extraHeader");
        Some((key, format!("Authorization: {value}")))
    }
}

impl Repository<'_> {
    async fn git(&self, doing: &'static str, args: &[&str]) -> Result<String, SourceError> {
        let folder = Some(self.folder.as_std_path());
        self.sources.git(folder, doing, self.remote, args).await
    }

    /// Brings a commit, unless it is there. Not every server hands out any commit by its name, and not every one
    /// speaks of depths: then all branches and tags are fetched.
    async fn fetch(&self, commit: &str) -> Result<(), SourceError> {
        let held = format!("refs/plimsoll/{commit}");
        let is_there = ["rev-parse", "-q", "--verify", held.as_str()];
        if self.git("read", &is_there).await.is_ok() {
            return Ok(());
        }
        let alone = format!("+{commit}:{held}");
        let quiet = ["fetch", "-q", "--no-tags", "--no-write-fetch-head"];
        let all = [
            "--",
            self.remote,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let fetch = async |more: &[&str]| self.git("fetch from", &[&quiet[..], more].concat()).await;
        if fetch(&["--depth=1", "--", self.remote, &alone]).await.is_ok() {
            return Ok(());
        }
        if fetch(&[&[EVERYTHING], &all[..]].concat()).await.is_err() {
            fetch(&all).await?;
        }
        self.git("find the commit in", &["update-ref", &held, commit])
            .await?;
        Ok(())
    }

    async fn time(&self, commit: &str) -> Result<i64, SourceError> {
        let args = ["log", "-1", "--format=%ct", commit];
        let text = self.git("read", &args).await?;
        Ok(text.trim().parse().unwrap_or(0))
    }

    async fn checkout(&self, url: &GitUrl, commit: &str, folder: &Path) -> Result<(), SourceError> {
        let shown = without_credentials(self.remote);
        let git = async |args: &[&str]| {
            self.sources
                .git(Some(folder), "check out", self.remote, args)
                .await
        };
        fs::create_dir_all(folder).map_err(SourceError::io("make folder", folder))?;
        git(&["init", "-q", "--template="]).await?;
        if url.keep_git_dir {
            let local = [
                "-c",
                "protocol.file.allow=always",
                "fetch",
                "-q",
                "--no-tags",
                "--depth=1",
            ];
            let from = format!("file://{}", self.folder);
            let held = format!("refs/plimsoll/{commit}");
            git(&[&local[..], &["--no-write-fetch-head", "--", &from, &held]].concat()).await?;
        } else {
            self.lend_objects(folder)?;
        }
        git(&["checkout", "-q", "-f", "--detach", commit]).await?;
        git(&["remote", "add", "origin", self.remote]).await?;
        if !url.without_submodules && folder.join(".gitmodules").exists() {
            let update = [
                "submodule",
                "--quiet",
                "update",
                "--init",
                "--recursive",
                "--force",
            ];
            if git(&[&update[..], &["--depth=1"]].concat()).await.is_err() {
                git(&update).await?;
            }
        }
        if url.keep_git_dir {
            git(&["remote", "set-url", "origin", &shown]).await?;
        }
        Ok(())
    }

    /// A work tree that loses its `.git` anyway reads the objects where they are.
    fn lend_objects(&self, folder: &Path) -> Result<(), SourceError> {
        let info = folder.join(".git/objects/info");
        fs::create_dir_all(&info).map_err(SourceError::io("make folder", &info))?;
        let path = info.join("alternates");
        let line = format!("{}\n", self.folder.join("objects"));
        fs::write(&path, line).map_err(SourceError::io("write", path))
    }
}

async fn lock(store: &Store, name: String) -> Result<Lock, SourceError> {
    if let Some(lock) = store.try_lock(&name)? {
        return Ok(lock);
    }
    let store = store.clone();
    join(tokio::task::spawn_blocking(move || Ok(store.lock(&name)?)).await)
}

fn join<T>(result: Result<Result<T, SourceError>, tokio::task::JoinError>) -> Result<T, SourceError> {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The line of git's output that says why.
fn reason(words: &str) -> String {
    let line = words.lines().rev().find_map(|line| {
        line.strip_prefix("fatal: ")
            .or_else(|| line.strip_prefix("error: "))
    });
    let last = || words.lines().rev().find(|line| !line.trim().is_empty());
    line.or_else(last)
        .unwrap_or("it does not say why")
        .trim()
        .to_owned()
}

/// Moves what is in a folder of the checkout to `folder`. Symlinks are followed inside the checkout only.
fn take_folder(checkout: &Path, subdir: &str, folder: &Path, shown: &str) -> Result<(), SourceError> {
    let tree = MergedTree::new(vec![checkout.to_owned()]);
    let entry = tree
        .resolve(Path::new(subdir))?
        .filter(|entry| entry.metadata.is_dir());
    let entry = entry.ok_or_else(|| SourceError::NoFolder {
        path: subdir.to_owned(),
        place: format!("`{shown}`"),
    })?;
    for name in tree.read_dir(&entry)? {
        let from = entry.host_path.join(&name);
        fs::rename(&from, folder.join(&name)).map_err(SourceError::io("move", from))?;
    }
    Ok(())
}

/// Makes modes and times a matter of the commit alone: git leaves them to the caller's umask and clock. The files by
/// which submodules point to the repository around them go with it.
fn even_out(folder: &Path, time: i64, keep_git: bool) -> Result<(), SourceError> {
    let entries = fs::read_dir(folder).map_err(SourceError::io("read", folder))?;
    for entry in entries {
        let entry = entry.map_err(SourceError::io("read", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(SourceError::io("examine", &path))?;
        if kind.is_dir() {
            even_out(&path, time, keep_git)?;
            continue;
        }
        if !keep_git && entry.file_name() == ".git" {
            fs::remove_file(&path).map_err(SourceError::io("remove", path))?;
            continue;
        }
        if kind.is_file() {
            let metadata = entry.metadata().map_err(SourceError::io("examine", &path))?;
            let program = metadata.permissions().mode() & 0o111 != 0;
            set_mode(&path, if program { 0o755 } else { 0o644 })?;
        }
        set_time(&path, time)?;
    }
    set_mode(folder, 0o755)?;
    set_time(folder, time)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), SourceError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(SourceError::io("change mode of", path))
}

/// Sets the times of a file, or of a symlink itself.
pub(crate) fn set_time(path: &Path, seconds: i64) -> Result<(), SourceError> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let set = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    set.map_err(|error| SourceError::io("set times of", PathBuf::from(path))(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_says_why_in_one_line() {
        let words = "Cloning...\nfatal: repository 'x' not found\nhelp: none\n";
        assert_eq!(reason(words), "repository 'x' not found");
        assert_eq!(reason("ssh: no\n\n"), "ssh: no");
        assert_eq!(reason(""), "it does not say why");
    }
}
