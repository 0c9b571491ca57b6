//! What happens to images, for `events`.

use plimsoll_oci::ImageRef;

use crate::{Image, Images, Removed};

impl Images {
    /// Writes down that something happened to what `id` names.
    pub(crate) fn event(&self, action: &str, id: &str, name: &str) {
        let attributes = [("name".to_owned(), name.to_owned())].into();
        self.store.events().record("image", action, id, attributes);
    }

    /// As Docker: what comes from and goes to registries is called by its name there.
    pub(crate) fn event_of_name(&self, action: &str, name: &ImageRef) {
        let text = name.familiar();
        let repository = text
            .rsplit_once(['@', ':'])
            .map_or(text.as_str(), |(repository, _)| repository);
        self.event(action, &text, repository);
    }

    /// Names that went, and images.
    pub(crate) fn events_of_removal(&self, image: &Image, removed: &[Removed]) {
        for what in removed {
            match what {
                Removed::Untagged(name) => self.event("untag", &image.id.to_string(), &name.familiar()),
                Removed::Deleted(id) => self.event("delete", &id.to_string(), &id.to_string()),
            }
        }
    }
}
