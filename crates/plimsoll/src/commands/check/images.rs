//! Images for `check`: those that are asked for, and the bases that its rules want to know.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_check::facts::ImageFacts;
use plimsoll_check::fix::Images as Found;
use plimsoll_check::load::Loaded;
use plimsoll_check::view::Base;
use plimsoll_image::Images;
use plimsoll_oci::ImageRef;

use crate::check_facts;
use crate::command_error::CommandError;
use crate::context::{Context, apart};

/// Looks the images up. What is asked for and is not there is an error; a base that is not there is just not known.
pub(crate) fn find(loaded: &Loaded, context: &Context, pin: bool, errors: &mut Vec<String>) -> Found {
    let wanted = bases(loaded);
    if loaded.images.is_empty() && wanted.is_empty() {
        return Found::default();
    }
    // Without a store of this user's there is nothing to know, which is no fault unless somebody asks.
    let images = match context.images() {
        Ok(images) => images,
        Err(error) => {
            errors.extend(
                loaded
                    .images
                    .iter()
                    .map(|name| format!("cannot look at `{name}`: {error}")),
            );
            return Found::default();
        }
    };
    let mut found = Found::default();
    if pin {
        found.pins = pins(&wanted, context, errors);
    }
    for name in &loaded.images {
        match asked(&images, name, context) {
            Ok(facts) => found.asked.extend(facts),
            Err(error) => errors.push(error.to_string()),
        }
    }
    found.known = wanted.iter().filter_map(|name| known(&images, name)).collect();
    found
}

/// The names of images that stages stand on and services run.
fn bases(loaded: &Loaded) -> Vec<String> {
    let workspace = &loaded.workspace;
    let views = workspace.dockerfiles.iter().chain(&workspace.others);
    let bases = views
        .flat_map(|view| &view.stages)
        .filter_map(|stage| match &stage.base {
            Base::Image(name) => Some(name.clone()),
            _ => None,
        });
    let services = workspace.projects.iter().flat_map(|project| project.services());
    let images = services.filter_map(|service| service.value.text_of("image").map(str::to_owned));
    let mut names: Vec<String> = bases.chain(images).collect();
    names.sort();
    names.dedup();
    names
}

/// The digests that registries give for names now.
fn pins(names: &[String], context: &Context, errors: &mut Vec<String>) -> BTreeMap<String, String> {
    let references = names.iter().filter_map(|name| {
        let reference: ImageRef = name.parse().ok()?;
        reference.digest().is_none().then_some((name.clone(), reference))
    });
    let references: Vec<_> = references.collect();
    let ask = async {
        let registry = context.registry()?;
        let mut answers = Vec::new();
        for (name, reference) in references {
            answers.push((name, registry.manifest(&reference).await));
        }
        Ok::<_, CommandError>(answers)
    };
    let answers = match apart(ask) {
        Ok(answers) => answers,
        Err(error) => {
            errors.push(error.to_string());
            return BTreeMap::new();
        }
    };
    let mut pins = BTreeMap::new();
    for (name, answer) in answers {
        match answer {
            Ok(manifest) => drop(pins.insert(name, manifest.digest.to_string())),
            Err(error) => errors.push(format!("cannot ask for the digest of `{name}`: {error}")),
        }
    }
    pins
}

fn known(images: &Images, name: &str) -> Option<ImageFacts> {
    let image = images.get_for(name, None).ok()?;
    check_facts::outline(images, &image, name).ok()
}

fn asked(images: &Images, name: &str, context: &Context) -> Result<Vec<ImageFacts>, CommandError> {
    let path = Path::new(name);
    if path.is_file() {
        return check_facts::of_archive(context, path);
    }
    let image = images.get_for(name, None)?;
    Ok(vec![check_facts::whole(context.store()?, images, &image, name)?])
}
