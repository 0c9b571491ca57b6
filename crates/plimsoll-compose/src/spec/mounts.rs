//! Volumes in all their forms.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_compose_file::model::{Mount, MountType};
use plimsoll_container::{ImageMount, MountRequest, MountSource, VolumeMount, VolumeOptions};

use super::{Making, files};
use crate::desired::Desired;
use crate::error::Result;

/// What a service binds that is not there and would become a folder, though it looks like a file: source and target.
pub(crate) fn missing_files(desired: &Desired, service: &str) -> Vec<(String, String)> {
    let mounts = desired.model.services.get(service);
    let mounts = mounts.into_iter().flat_map(|service| &service.volumes);
    let missing = mounts.filter_map(|mount| {
        let source = mount.source.as_deref()?;
        let looks_so = looks_like_a_file(source) || looks_like_a_file(&mount.target);
        let is_made = mount.kind == MountType::Bind && mount.bind.creates_host_path();
        let is_missing = is_made && looks_so && !Utf8Path::new(source).exists();
        is_missing.then(|| (source.to_owned(), mount.target.clone()))
    });
    missing.collect()
}

/// `app.conf`, and not `conf.d` or `python3.11`.
fn looks_like_a_file(path: &str) -> bool {
    let extension = Utf8Path::new(path).extension().unwrap_or("d");
    extension != "d" && !path.ends_with('/') && !extension.bytes().all(|letter| letter.is_ascii_digit())
}

impl Making<'_> {
    /// What others have goes first, so that the service's own words go over it.
    pub(super) fn mounts(&self) -> Result<Vec<MountRequest>> {
        let mut mounts = Vec::new();
        for text in &self.service.volumes_from {
            mounts.extend(self.inherited(text)?);
        }
        for mount in &self.service.volumes {
            mounts.push(self.mount(mount)?);
        }
        for text in &self.service.tmpfs {
            let mount = MountRequest::parse_tmpfs(text);
            mounts.push(mount.map_err(|error| self.wrong("tmpfs", error))?);
        }
        for (source, target) in files::folders(self.desired, self.name)? {
            mounts.push(MountRequest {
                source: MountSource::Bind {
                    path: source,
                    create: false,
                },
                target,
                read_only: true,
                options: Vec::new(),
            });
        }
        self.carry_over(&mut mounts);
        Ok(mounts)
    }

    fn inherited(&self, text: &str) -> Result<Vec<MountRequest>> {
        let text = match text.strip_prefix("container:") {
            Some(name) => name.to_owned(),
            None => {
                let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
                format!("{}:{mode}", self.peer(name)?)
            }
        };
        let mounts = self.containers.volumes_from(&text);
        mounts.map_err(|error| self.wrong("volumes_from", error))
    }

    fn mount(&self, mount: &Mount) -> Result<MountRequest> {
        let wrong = |reason: String| self.wrong("volumes", reason);
        let target = Utf8PathBuf::from(&mount.target);
        if !target.is_absolute() {
            return Err(wrong(format!("target `{target}` is not an absolute path")));
        }
        let mut options = Vec::new();
        let source = match mount.kind {
            MountType::Bind => {
                let path = Utf8PathBuf::from(mount.source.clone().unwrap_or_default());
                let create = mount.bind.create_host_path.unwrap_or(true);
                options.extend(mount.bind.propagation.clone());
                match mount.bind.recursive.as_deref() {
                    Some("disabled") => options.push("bind".to_owned()),
                    Some("writable") => options.push("ro".to_owned()),
                    _ => {}
                }
                MountSource::Bind { path, create }
            }
            MountType::Volume => MountSource::Volume(self.volume(mount)),
            MountType::Tmpfs => {
                let size = mount.tmpfs.size.map(|size| format!("size={size}"));
                let mode = mount.tmpfs.mode.map(|mode| format!("mode={mode:o}"));
                MountSource::Tmpfs(size.into_iter().chain(mode).collect())
            }
            MountType::Image => MountSource::Image(self.image_mount(mount)?),
            other => {
                let kind = format!("{other:?}").to_lowercase();
                return Err(wrong(format!("mounts of type `{kind}` are not supported")));
            }
        };
        Ok(MountRequest {
            source,
            target,
            read_only: mount.read_only,
            options,
        })
    }

    /// In the words of `--mount`, so that what is wrong there is wrong here.
    fn image_mount(&self, mount: &Mount) -> Result<ImageMount> {
        let image = mount.source.clone().filter(|source| !source.is_empty());
        let image = image.ok_or_else(|| self.wrong("volumes", "type `image` needs a source, the image"))?;
        let subpath = mount
            .image
            .subpath
            .as_deref()
            .map(|text| ImageMount::subpath(text).map_err(|error| self.wrong("volumes", error)));
        Ok(ImageMount {
            image,
            subpath: subpath.transpose()?,
        })
    }

    fn volume(&self, mount: &Mount) -> VolumeMount {
        let key = mount.source.as_ref().filter(|source| !source.is_empty());
        let known = key.map(|key| match self.desired.model.volumes.get(key) {
            Some(volume) => volume.name.clone(),
            None => key.clone(),
        });
        VolumeMount {
            options: match known {
                Some(_) => VolumeOptions::default(),
                None => VolumeOptions {
                    labels: mount.volume.labels.clone(),
                    driver: BTreeMap::new(),
                },
            },
            name: known,
            copy: !mount.volume.nocopy,
            subpath: mount.volume.subpath.as_ref().map(Utf8PathBuf::from),
        }
    }

    /// Volumes without a name go over to the container that takes the place of the one they were made for.
    fn carry_over(&self, mounts: &mut Vec<MountRequest>) {
        let Some(old) = self.old.filter(|_| !self.renew) else {
            return;
        };
        let volumes_of_image = self.image.config.config.volumes.iter().flatten();
        let of_image: Vec<Utf8PathBuf> = volumes_of_image
            .map(|(path, _)| Utf8Path::new("/").join(path))
            .collect();
        for point in &old.definition.mounts {
            let Some(name) = point.volume.clone() else {
                continue;
            };
            let at = mounts.iter().position(|mount| mount.target == point.target);
            let is_nameless = |mount: &MountRequest| matches!(&mount.source, MountSource::Volume(volume) if volume.name.is_none());
            match at {
                Some(at) if is_nameless(&mounts[at]) => {
                    if let MountSource::Volume(volume) = &mut mounts[at].source {
                        volume.name = Some(name);
                    }
                }
                None if of_image.contains(&point.target) => mounts.push(MountRequest {
                    source: MountSource::Volume(VolumeMount {
                        name: Some(name),
                        ..VolumeMount::default()
                    }),
                    target: point.target.clone(),
                    read_only: false,
                    options: Vec::new(),
                }),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_folders_by_their_names() {
        for file in ["/etc/app.conf", "./init.sql", "/run/docker.sock"] {
            assert!(looks_like_a_file(file), "{file}");
        }
        for folder in [
            "/data",
            "/etc/nginx/conf.d",
            "/opt/python3.11",
            "./x.y/",
            "/home/.ssh",
        ] {
            assert!(!looks_like_a_file(folder), "{folder}");
        }
    }
}
