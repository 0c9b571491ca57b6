//! `rmi`, by Docker's rules.

use plimsoll_oci::{Digest, ImageRef};

use crate::{Image, ImageError, Images, Result, rows};

/// What happened while an image was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(ImageRef),
    /// An image without names is gone.
    Deleted(Digest),
}

impl Images {
    /// Takes a name away; the image goes with its last name. By id all of it goes, if it has names in one repository
    /// only. `force` overrides what is in the way, except a running container.
    pub fn remove(&self, name: &str, force: bool, is_running: &dyn Fn(&str) -> bool) -> Result<Vec<Removed>> {
        let image = self.get(name)?;
        let removed = self.take_away(&image, name, force, is_running)?;
        self.events_of_removal(&image, &removed);
        Ok(removed)
    }

    fn take_away(
        &self,
        image: &Image,
        name: &str,
        force: bool,
        is_running: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Removed>> {
        let names = self.names(image)?;
        let given = self
            .manifest_of_name(name)?
            .and_then(|_| name.parse::<ImageRef>().ok());
        match given {
            Some(given) if names.iter().any(|known| *known != given) && given.digest().is_none() => {
                self.untag(image, &given, &names)
            }
            given => {
                if given.is_none() && !force && repositories(&names) > 1 {
                    return Err(conflict(
                        name,
                        "image is referenced in multiple repositories",
                        true,
                    ));
                }
                let mut ids = vec![image.id];
                if let Some(index) = self.index(name)? {
                    ids.extend(self.images_of(&index)?.iter().map(|image| image.id));
                }
                self.check_unused(&ids, name, force, is_running)?;
                self.delete(image, &names)
            }
        }
    }

    /// Returns name and id of every container made from the image.
    pub fn containers(&self, image: &Image) -> Result<Vec<(String, String)>> {
        Ok(self.store.db().read(|db| rows::containers_of(db, &image.id))?)
    }

    fn check_unused(
        &self,
        ids: &[Digest],
        name: &str,
        force: bool,
        is_running: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        let containers = ids
            .iter()
            .map(|id| Ok(self.store.db().read(|db| rows::containers_of(db, id))?));
        for (container, id) in containers.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            let running = is_running(&id);
            if !running && force {
                continue;
            }
            let state = if running { "running" } else { "stopped" };
            let reason = format!("image is being used by {state} container `{container}`");
            return Err(conflict(name, reason, !running));
        }
        Ok(())
    }

    /// Takes one of several names away.
    fn untag(&self, image: &Image, name: &ImageRef, names: &[ImageRef]) -> Result<Vec<Removed>> {
        let mut removed = vec![Removed::Untagged(name.clone())];
        let last_of_repository = !names
            .iter()
            .any(|other| other != name && same_repository(other, name));
        if last_of_repository {
            let digests = self.digests(image)?;
            removed.extend(
                digests
                    .into_iter()
                    .filter(|digest| same_repository(digest, name))
                    .map(Removed::Untagged),
            );
        }
        let deleted = self.store.db().write(|db| -> rusqlite::Result<_> {
            if last_of_repository {
                rows::delete_digests(db, name, &image.id)?;
            }
            rows::drop_names(db, std::slice::from_ref(name))
        })?;
        removed.extend(deleted.into_iter().map(Removed::Deleted));
        Ok(removed)
    }

    fn delete(&self, image: &Image, names: &[ImageRef]) -> Result<Vec<Removed>> {
        let digests = self.digests(image)?;
        let deleted = self
            .store
            .db()
            .write(|db| rows::drop_image(db, &image.id, names, &digests))?;
        let untagged = names.iter().cloned().chain(digests).map(Removed::Untagged);
        Ok(untagged
            .chain(deleted.into_iter().map(Removed::Deleted))
            .collect())
    }
}

fn conflict(name: &str, reason: impl Into<String>, forceable: bool) -> ImageError {
    ImageError::Conflict {
        name: name.to_owned(),
        reason: reason.into(),
        forceable,
    }
}

fn same_repository(a: &ImageRef, b: &ImageRef) -> bool {
    (a.registry(), a.repository()) == (b.registry(), b.repository())
}

fn repositories(names: &[ImageRef]) -> usize {
    let mut all: Vec<_> = names
        .iter()
        .map(|name| (name.registry(), name.repository()))
        .collect();
    all.dedup();
    all.len()
}

#[cfg(test)]
mod tests {
    use plimsoll_testkit::needs;

    use super::*;
    use crate::testing::{Sample, Sandbox, pack};

    fn sandbox(tags: &[&str]) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.load_one(&pack(&Sample::hello().docker(tags)));
        sandbox
    }

    fn remove(sandbox: &Sandbox, name: &str, force: bool) -> Result<Vec<String>, String> {
        let removed = sandbox
            .images
            .remove(name, force, &|id| id == "running")
            .map_err(|error| error.to_string())?;
        let show = |removed: &Removed| match removed {
            Removed::Untagged(name) => name.familiar(),
            Removed::Deleted(_) => "deleted".to_owned(),
        };
        Ok(removed.iter().map(show).collect())
    }

    fn use_by(sandbox: &Sandbox, container: &str) {
        let manifest = sandbox.images.get("app").unwrap().manifest_digest.to_string();
        let insert = "INSERT INTO container (id, name, created, manifest_digest) VALUES (?1, 'web', 0, ?2)";
        sandbox
            .images
            .store
            .db()
            .write(|db| db.execute(insert, [container, &manifest]))
            .unwrap();
    }

    #[test]
    fn an_image_goes_with_its_last_name() {
        needs!(root);
        let sandbox = sandbox(&["app", "app:2"]);
        assert_eq!(remove(&sandbox, "app", false).unwrap(), ["app:latest"]);
        assert_eq!(sandbox.names(), ["app:2"]);
        assert_eq!(remove(&sandbox, "app:2", false).unwrap(), ["app:2", "deleted"]);
        assert!(sandbox.names().is_empty());
        assert!(
            remove(&sandbox, "app:2", false)
                .unwrap_err()
                .contains("no such image")
        );
    }

    #[test]
    fn by_id_only_names_of_one_repository_go_without_force() {
        needs!(root);
        let id = |sandbox: &Sandbox| sandbox.images.get("app").unwrap().id.short();
        let one = sandbox(&["app", "app:2"]);
        assert_eq!(
            remove(&one, &id(&one), false).unwrap(),
            ["app:2", "app:latest", "deleted"]
        );
        let several = sandbox(&["app", "other"]);
        let error = remove(&several, &id(&several), false).unwrap_err();
        assert!(error.contains("multiple repositories"), "{error}");
        assert_eq!(
            remove(&several, &id(&several), true).unwrap(),
            ["app:latest", "other:latest", "deleted"]
        );
    }

    #[test]
    fn a_containers_image_stays() {
        needs!(root);
        let stopped = sandbox(&["app"]);
        use_by(&stopped, "stopped");
        let error = remove(&stopped, "app", false).unwrap_err();
        assert!(
            error.contains("must be forced") && error.contains("stopped container `web`"),
            "{error}"
        );
        assert_eq!(remove(&stopped, "app", true).unwrap(), ["app:latest", "deleted"]);
        let running = sandbox(&["app"]);
        use_by(&running, "running");
        let error = remove(&running, "app", true).unwrap_err();
        assert!(error.contains("cannot be forced"), "{error}");
    }

    #[test]
    fn a_further_name_of_a_containers_image_may_go() {
        needs!(root);
        let sandbox = sandbox(&["app", "app:2"]);
        use_by(&sandbox, "running");
        assert_eq!(remove(&sandbox, "app:2", false).unwrap(), ["app:2"]);
    }

    #[test]
    fn whoever_has_an_image_in_hand_may_still_name_it() {
        needs!(root);
        let sandbox = sandbox(&["app"]);
        let image = sandbox.images.get("app").unwrap();
        remove(&sandbox, "app", false).unwrap();
        sandbox.images.tag(&image, &"late".parse().unwrap()).unwrap();
        assert_eq!(sandbox.names(), ["late:latest"]);
    }

    #[test]
    fn a_built_image_is_listed_when_it_is_named_or_kept() {
        needs!(root);
        let sandbox = Sandbox::new();
        let image = sandbox
            .images
            .assemble(plimsoll_oci::ImageConfig::default(), None)
            .unwrap();
        assert!(sandbox.names().is_empty());
        sandbox.images.keep(&image).unwrap();
        assert_eq!(sandbox.names(), ["<none>"]);
        sandbox.images.tag(&image, &"built".parse().unwrap()).unwrap();
        assert_eq!(sandbox.names(), ["built:latest"]);
    }
}
