//! Secrets and configs: files in memory.

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_compose_file::model::{FileObject, FileReference};
use plimsoll_container::{Content, GivenFile};

use crate::desired::Desired;
use crate::error::{ComposeError, Result};

/// Who may do what with a secret or a config of which nothing is said.
const MODE: u32 = 0o444;

/// What a service is given; folders are bound, see [`folders`].
pub(crate) fn given(desired: &Desired, name: &str) -> Result<Vec<GivenFile>> {
    let mut files = Vec::new();
    for (kind, reference, object, target) in wanted(desired, name)? {
        if object.file.as_ref().is_some_and(|path| path.is_dir()) {
            continue;
        }
        let wrong = |reason: String| key(name, kind, &reference.source, reason);
        let number = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            let parsed = text.map(str::parse::<u32>).transpose();
            parsed.map_err(|_| wrong("uid and gid are numbers".to_owned()))
        };
        files.push(GivenFile {
            target,
            content: content(desired, object).map_err(wrong)?,
            uid: number(&reference.uid)?,
            gid: number(&reference.gid)?,
            mode: reference.mode.unwrap_or(MODE),
        });
    }
    Ok(files)
}

/// Secrets and configs that are folders of the host, which can only be bound: source and target.
pub(super) fn folders(desired: &Desired, name: &str) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let wanted = wanted(desired, name)?.into_iter();
    let folders = wanted.filter_map(|(_, _, object, target)| {
        let path = object.file.as_ref().filter(|path| path.is_dir())?;
        Some((path.clone(), target))
    });
    Ok(folders.collect())
}

type Wanted<'a> = (&'static str, &'a FileReference, &'a FileObject, Utf8PathBuf);

fn wanted<'a>(desired: &'a Desired, name: &str) -> Result<Vec<Wanted<'a>>> {
    let service = desired.service(name)?;
    let model = &desired.model;
    let secrets = service.secrets.iter().map(|reference| {
        (
            "secret",
            reference,
            model.secrets.get(&reference.source),
            "/run/secrets",
        )
    });
    let configs = service
        .configs
        .iter()
        .map(|reference| ("config", reference, model.configs.get(&reference.source), "/"));
    let mut all = Vec::new();
    for (kind, reference, object, folder) in secrets.chain(configs) {
        let undefined = || key(name, kind, &reference.source, "is not defined".to_owned());
        let target = reference.target.as_ref().filter(|target| !target.is_empty());
        let target = target.unwrap_or(&reference.source);
        all.push((
            kind,
            reference,
            object.ok_or_else(undefined)?,
            Utf8Path::new(folder).join(target),
        ));
    }
    Ok(all)
}

fn content(desired: &Desired, object: &FileObject) -> Result<Content, String> {
    if object.external {
        return Err(format!(
            "`{}` is external, and there is no store of such files: give `file` or `environment` instead",
            object.name
        ));
    }
    if let Some(path) = &object.file {
        return match path.exists() {
            true => Ok(Content::File(path.clone())),
            false => Err(format!("file {path} does not exist")),
        };
    }
    if let Some(variable) = &object.environment {
        let value = desired.environment.get(variable);
        let value = value.ok_or_else(|| format!("environment variable \"{variable}\" is not set"))?;
        return Ok(Content::Bytes(value.clone().into_bytes()));
    }
    Ok(Content::Bytes(
        object.content.clone().unwrap_or_default().into_bytes(),
    ))
}

fn key(service: &str, kind: &str, source: &str, reason: String) -> ComposeError {
    ComposeError::Key {
        service: service.to_owned(),
        key: format!("{kind} {source}"),
        reason,
    }
}
