//! What `develop.watch` says: which files count, and what is to be done.

use std::path::{Path, PathBuf};

use plimsoll_compose_file::model::{Hook, Model, MountType, Service, Watch, WatchAction};
use plimsoll_diagnostics::Source;
use plimsoll_dockerfile::IgnoreFile;

use crate::command_error::CommandError;

/// What editors and version control leave beside the files they work on; not worth a word to anybody.
const TEMPORARY: &str = "**/.git\n**/.DS_Store\n**/.idea\n**/*~\n**/.*.swp\n**/.*.swx\n**/.*.swpx\n**/4913\n**/#*#\n**/.#*\n\
                         **/*___jb_tmp___\n**/*___jb_old___\n**/.goutputstream-*\n**/*.kate-swp";

/// One rule of `watch`.
pub(crate) struct Rule {
    pub(crate) service: String,
    pub(crate) action: WatchAction,
    pub(crate) root: PathBuf,
    pub(crate) target: Option<String>,
    pub(crate) exec: Option<Hook>,
    pub(crate) initial_sync: bool,
    /// Its files are in the container as they are here.
    pub(crate) is_mounted: bool,
    include: Option<IgnoreFile>,
    ignore: IgnoreFile,
    temporary: IgnoreFile,
    /// The build's own, and the folder it is about.
    context: Option<(PathBuf, IgnoreFile)>,
}

impl Rule {
    /// The rules of these services.
    pub(crate) fn of(model: &Model, services: &[String]) -> Result<Vec<Self>, CommandError> {
        let mut rules = Vec::new();
        for name in services {
            let Some(service) = model.services.get(name) else {
                continue;
            };
            let Some(develop) = &service.develop else { continue };
            let context = service
                .build
                .as_ref()
                .map(|build| context_rules(&build.context))
                .transpose()?;
            for (number, watch) in develop.watch.iter().enumerate() {
                let place = |key: &str| format!("services.{name}.develop.watch.{number}.{key}");
                if watch.action == WatchAction::Rebuild && service.build.is_none() {
                    return Err(CommandError::user(format!(
                        "`{}`: `rebuild` needs a `build` of service `{name}`",
                        place("action")
                    )));
                }
                rules.push(Self {
                    service: name.clone(),
                    action: watch.action,
                    root: PathBuf::from(&watch.path),
                    target: watch.target.clone(),
                    exec: watch.exec.clone(),
                    initial_sync: watch.initial_sync,
                    is_mounted: is_mounted(service, watch),
                    include: match watch.include.is_empty() {
                        true => None,
                        false => Some(patterns(&place("include"), &watch.include.join("\n"))?),
                    },
                    ignore: patterns(&place("ignore"), &watch.ignore.join("\n"))?,
                    temporary: patterns("temporary files", TEMPORARY)?,
                    context: context.clone().flatten(),
                });
            }
        }
        Ok(rules)
    }

    /// Whether a change of this path is one for the rule.
    pub(crate) fn applies(&self, path: &Path) -> bool {
        let Some(inside) = inside(&self.root, path) else {
            return false;
        };
        !self.leaves_out(path)
            && self
                .include
                .as_ref()
                .is_none_or(|include| inside.is_empty() || include.excludes(&inside))
    }

    /// Whether nothing below this path counts either.
    pub(crate) fn leaves_out(&self, path: &Path) -> bool {
        let Some(inside) = inside(&self.root, path) else {
            return true;
        };
        let by_context = self.context.as_ref().is_some_and(|(folder, ignore)| {
            self::inside(folder, path).is_some_and(|inside| ignore.excludes(&inside))
        });
        by_context || self.ignore.excludes(&inside) || self.temporary.excludes(&inside)
    }

    /// Whether the rule has nothing to do with the path, and with all below it.
    pub(crate) fn is_elsewhere(&self, path: &Path) -> bool {
        !path.starts_with(&self.root) && !self.root.starts_with(path)
    }

    /// Where a file goes in the container.
    pub(crate) fn destination(&self, path: &Path) -> Option<PathBuf> {
        let target = Path::new(self.target.as_deref()?);
        let rest = path.strip_prefix(&self.root).ok()?;
        Some(match rest.as_os_str().is_empty() {
            true => target.to_owned(),
            false => target.join(rest),
        })
    }
}

/// Whether files that a rule copies are below a folder that is mounted.
fn is_mounted(service: &Service, watch: &Watch) -> bool {
    let mounts = service
        .volumes
        .iter()
        .filter(|mount| mount.kind == MountType::Bind);
    let mut sources = mounts.filter_map(|mount| mount.source.as_deref());
    let copies = !matches!(watch.action, WatchAction::Rebuild | WatchAction::Restart);
    copies && sources.any(|source| Path::new(&watch.path).starts_with(source))
}

/// The path from a folder, with slashes; None when it is not below.
fn inside(folder: &Path, path: &Path) -> Option<String> {
    let rest = path.strip_prefix(folder).ok()?;
    Some(rest.to_string_lossy().into_owned())
}

fn patterns(name: &str, text: &str) -> Result<IgnoreFile, CommandError> {
    IgnoreFile::parse(&Source::new(name, text)).map_err(|found| CommandError::diagnostic(*found))
}

/// `.dockerignore` of a folder that is a build's context: what no image has, no container needs.
fn context_rules(context: &str) -> Result<Option<(PathBuf, IgnoreFile)>, CommandError> {
    let folder = PathBuf::from(context);
    let path = folder.join(".dockerignore");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((folder, patterns(&path.to_string_lossy(), &text)?))),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(watch: serde_json::Value) -> Rule {
        let model = json!({"name": "p", "services": {"web": {"develop": {"watch": [watch]}}}});
        let model: Model = serde_json::from_value(model).unwrap();
        Rule::of(&model, &["web".to_owned()]).unwrap().remove(0)
    }

    #[test]
    fn which_files_count_and_where_they_go() {
        let rule = rule(json!({
            "path": "/src", "action": "sync", "target": "/app",
            "ignore": ["node_modules/"], "include": ["**/*.js", "**/*.css"],
        }));
        let applies = |path: &str| rule.applies(Path::new(path));
        assert!(applies("/src/a.js") && applies("/src/deep/b.css"));
        for path in [
            "/src/a.py",
            "/src/node_modules/a.js",
            "/other/a.js",
            "/src/.git/a.js",
            "/src/.a.js.swp",
        ] {
            assert!(!applies(path), "{path}");
        }
        assert_eq!(
            rule.destination(Path::new("/src/deep/b.css")).unwrap(),
            Path::new("/app/deep/b.css")
        );
        assert!(rule.leaves_out(Path::new("/src/node_modules")) && !rule.leaves_out(Path::new("/src/deep")));
    }

    #[test]
    fn a_single_file_goes_to_its_target() {
        let rule =
            rule(json!({"path": "/src/app.conf", "action": "sync+restart", "target": "/etc/app.conf"}));
        assert!(rule.applies(Path::new("/src/app.conf")) && !rule.applies(Path::new("/src/other")));
        assert_eq!(
            rule.destination(Path::new("/src/app.conf")).unwrap(),
            Path::new("/etc/app.conf")
        );
    }
}
