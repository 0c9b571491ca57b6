//! Which images have to be pulled or built before containers can be made.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_compose_file::model::{MountType, Service};
use plimsoll_oci::{ImageRef, Platform};

use crate::converge::Converge;
use crate::desired::Desired;
use crate::error::{ComposeError, Result};

/// `--pull`, over what `pull_policy` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// The registry is asked each time.
    Always,
    /// Only for what is not here.
    Missing,
    /// Never: what is not here is an error.
    Never,
    /// It is built each time.
    Build,
    /// The registry is asked for what is older than this.
    Older(Duration),
}

/// Where the image of a service is to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry; where that fails, it is built if it can be.
    Pull {
        /// Whether the registry is asked even for what is here.
        always: bool,
    },
    /// Its build.
    Build,
}

/// An image that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The service.
    pub service: String,
    /// Its image.
    pub image: String,
    /// Where it comes from.
    pub source: Source,
}

impl PullPolicy {
    /// Parses `always`, `missing`, `if_not_present`, `never`, `build`, `daily`, `weekly` and `every_12h`.
    pub fn parse(text: &str) -> Option<Self> {
        const DAY: u64 = 24 * 60 * 60;
        Some(match text {
            "always" => Self::Always,
            "missing" | "if_not_present" => Self::Missing,
            "never" => Self::Never,
            "build" => Self::Build,
            "daily" => Self::Older(Duration::from_secs(DAY)),
            "weekly" => Self::Older(Duration::from_secs(7 * DAY)),
            other => Self::Older(interval(other.strip_prefix("every_")?)?),
        })
    }
}

/// `12h`, `1d12h`, `2w`.
fn interval(text: &str) -> Option<Duration> {
    let (mut seconds, mut number) = (0_u64, String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        let unit = match letter {
            'w' => 7 * 24 * 60 * 60,
            'd' => 24 * 60 * 60,
            'h' => 60 * 60,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let length = number.parse::<u64>().ok()?.checked_mul(unit)?;
        seconds = seconds.checked_add(length)?;
        number.clear();
    }
    (number.is_empty() && seconds > 0).then(|| Duration::from_secs(seconds))
}

impl Converge {
    /// Says what has to be had for these services. With `build` all that can be built is; without `may_build` nothing.
    pub fn needs(
        &self,
        desired: &Desired,
        services: &BTreeSet<String>,
        pull: Option<PullPolicy>,
        (build, may_build): (bool, bool),
    ) -> Result<Vec<Need>> {
        let mut needs = Vec::new();
        for name in services {
            let Some(service) = desired.model.services.get(name) else {
                continue;
            };
            let present = self.image(desired, name)?;
            let tagged = match &present {
                Some(image) => Some(self.images.tagged(image)?),
                None => None,
            };
            let age = tagged.flatten().and_then(age);
            let policy = pull.or_else(|| service.pull_policy.as_deref().and_then(PullPolicy::parse));
            let source = match source(service, policy, present.is_some(), age, build, may_build) {
                Ok(source) => source,
                Err(()) => {
                    return Err(ComposeError::NoImage {
                        service: name.clone(),
                        image: desired.image(name),
                    });
                }
            };
            needs.extend(source.map(|source| Need {
                service: name.clone(),
                image: desired.image(name),
                source,
            }));
            needs.extend(self.needs_before(desired, (name, service), services, policy)?);
        }
        Ok(needs)
    }

    /// Images of what runs before a service and of what it mounts, but for those that one of the services has or builds.
    fn needs_before(
        &self,
        desired: &Desired,
        (name, service): (&str, &Service),
        services: &BTreeSet<String>,
        policy: Option<PullPolicy>,
    ) -> Result<Vec<Need>> {
        let mut needs = Vec::new();
        let of_steps = service.pre_start.iter().filter_map(|step| step.image.clone());
        let mounted = service
            .volumes
            .iter()
            .filter(|mount| mount.kind == MountType::Image);
        let images = of_steps.chain(mounted.filter_map(|mount| mount.source.clone()));
        for image in images.filter(|image| services.iter().all(|other| desired.image(other) != *image)) {
            let always = policy == Some(PullPolicy::Always);
            let is_here = self.image_for(desired, name, &image)?.is_some();
            if is_here && !always {
                continue;
            }
            if policy == Some(PullPolicy::Never) {
                let service = name.to_owned();
                return Err(ComposeError::NoImage { service, image });
            }
            needs.push(Need {
                service: name.to_owned(),
                image,
                source: Source::Pull { always },
            });
        }
        Ok(needs)
    }

    /// Pulls an image.
    pub async fn pull(&self, desired: &Desired, need: &Need) -> Result<()> {
        let service = desired.service(&need.service)?;
        let reference: ImageRef = need.image.parse().map_err(|error| ComposeError::Key {
            service: need.service.clone(),
            key: "image".to_owned(),
            reason: format!("{error}"),
        })?;
        let platform = service.platform.as_deref().map(str::parse::<Platform>);
        let platform = platform.transpose().map_err(|error| ComposeError::Key {
            service: need.service.clone(),
            key: "platform".to_owned(),
            reason: format!("{error}"),
        })?;
        let platform = platform.unwrap_or_else(Platform::host);
        let always = matches!(need.source, Source::Pull { always: true });
        let id = format!("Image {}", need.image);
        self.progress.working(&id, "Pulling");
        let pulled = self
            .images
            .obtain(&reference, &platform, always, &self.progress)
            .await;
        match &pulled {
            Ok(_) => self.progress.ready(&id, "Pulled"),
            Err(error) => self.progress.resource(
                &id,
                plimsoll_progress::ResourceState::Error,
                "Error",
                &crate::apply::chain(error),
            ),
        }
        pulled?;
        Ok(())
    }
}

fn age(tagged: i64) -> Option<Duration> {
    let then = Timestamp::from_nanosecond(tagged.into()).ok()?;
    Duration::try_from(Timestamp::now().duration_since(then)).ok()
}

/// Where an image comes from: nowhere if it is here and good enough. An error if it may come from nowhere and is not here.
fn source(
    service: &Service,
    policy: Option<PullPolicy>,
    present: bool,
    age: Option<Duration>,
    build: bool,
    may_build: bool,
) -> Result<Option<Source>, ()> {
    let can_build = service.build.is_some() && may_build;
    let can_pull = service.image.is_some();
    if service.build.is_some() && build {
        return Ok(Some(Source::Build));
    }
    let is_old = |limit: Duration| !present || age.is_none_or(|age| age > limit);
    match policy {
        Some(PullPolicy::Build) if can_build => Ok(Some(Source::Build)),
        Some(PullPolicy::Always) if can_pull => Ok(Some(Source::Pull { always: true })),
        Some(PullPolicy::Older(limit)) if can_pull && is_old(limit) => {
            Ok(Some(Source::Pull { always: true }))
        }
        _ if present => Ok(None),
        Some(PullPolicy::Never) => Err(()),
        // Asked for in so many words, the registry goes first.
        Some(PullPolicy::Missing) if can_pull => Ok(Some(Source::Pull { always: false })),
        _ if can_build => Ok(Some(Source::Build)),
        _ if can_pull => Ok(Some(Source::Pull { always: false })),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_compose_file::model::Build;

    use super::*;

    #[test]
    fn policies_in_every_form() {
        let hours = |hours: u64| Some(PullPolicy::Older(Duration::from_secs(hours * 3600)));
        assert_eq!(PullPolicy::parse("if_not_present"), Some(PullPolicy::Missing));
        assert_eq!(PullPolicy::parse("daily"), hours(24));
        assert_eq!(PullPolicy::parse("every_1d12h"), hours(36));
        for wrong in [
            "sometimes",
            "every_",
            "every_12",
            "every_h",
            "every_12y",
            "every_18446744073709551615s1s",
        ] {
            assert_eq!(PullPolicy::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn images_come_from_where_they_can() {
        let service = |image: bool, build: bool| Service {
            image: image.then(|| "x".to_owned()),
            build: build.then(Build::default),
            ..Service::default()
        };
        let hour = Some(Duration::from_secs(3600));
        let pull = |always| Ok(Some(Source::Pull { always }));
        let built = Ok(Some(Source::Build));
        let (both, image, only_build) = (service(true, true), service(true, false), service(false, true));
        assert_eq!(source(&image, None, true, None, false, true), Ok(None));
        assert_eq!(source(&image, None, false, None, false, true), pull(false));
        assert_eq!(source(&both, None, false, None, false, true), built);
        assert_eq!(
            source(&both, Some(PullPolicy::Missing), false, None, false, true),
            pull(false)
        );
        assert_eq!(source(&both, None, true, None, true, true), built);
        assert_eq!(
            source(&image, Some(PullPolicy::Always), true, None, false, true),
            pull(true)
        );
        assert_eq!(
            source(&image, Some(PullPolicy::Never), false, None, false, true),
            Err(())
        );
        assert_eq!(
            source(&only_build, Some(PullPolicy::Always), false, None, false, true),
            built
        );
        assert_eq!(source(&only_build, None, false, None, false, false), Err(()));
        let daily = PullPolicy::parse("daily");
        assert_eq!(source(&image, daily, true, hour, false, true), Ok(None));
        let hourly = PullPolicy::parse("every_30m");
        assert_eq!(source(&image, hourly, true, hour, false, true), pull(true));
    }
}
