//! The project as transformation images read it (`/in/compose.yaml`): the normal form with the content of secrets and
//! configs, the image of every service, and every port that its containers listen on under `expose`.

use std::collections::BTreeMap;

use plimsoll_compose_file::{Project, to_yaml};
use plimsoll_diagnostics::Diagnostic;
use serde_json::{Value, json};

use crate::app::App;
use crate::{ImageFacts, content, ports};

/// The text of the project for a transformation image. It holds the secrets.
///
/// # Errors
/// Secrets and configs that cannot be read.
pub fn resolved(project: &Project, images: &BTreeMap<String, ImageFacts>) -> Result<String, Vec<Diagnostic>> {
    let app = App::new(project, images)?;
    let mut value = project.to_yaml();
    for (name, service) in &app.model.services {
        let mut listening: Vec<u16> = ports::listening(&app, name, service)
            .iter()
            .map(|port| port.port)
            .collect();
        listening.dedup();
        let service_value = &mut value["services"][name];
        service_value["image"] = json!(app.image(name, service));
        if !listening.is_empty() {
            let texts = listening.iter().map(u16::to_string);
            service_value["expose"] = texts.collect::<Value>();
        }
    }
    for (section, objects) in [("secrets", &app.model.secrets), ("configs", &app.model.configs)] {
        for (name, object) in objects.iter().filter(|(_, object)| !object.external) {
            match content::of_object(&app, object) {
                Ok(bytes) => value[section][name]["content"] = json!(String::from_utf8_lossy(&bytes)),
                Err(why) => app.notes.refuse(
                    &[section, name],
                    format!("`{name}` of `{section}` cannot be taken along: {why}"),
                    "a transformation needs its content",
                ),
            }
        }
    }
    app.notes.finish()?;
    Ok(to_yaml(&value))
}
