//! `--verify`: whether building again gives the same.

use plimsoll_build::record::Recording;
use plimsoll_build::{Build, BuildRequest, BuildResult, Caches, Difference, compare};
use plimsoll_image::Images;
use plimsoll_progress::Progress;
use plimsoll_store::Store;

use crate::command_error::CommandError;

/// The same build, all of whose steps run. Base images are those of the first.
pub(super) fn again(request: &BuildRequest) -> BuildRequest {
    BuildRequest {
        no_cache: true,
        pull: false,
        caches: Caches::default(),
        gate: None,
        ..request.clone()
    }
}

/// Builds a second time and compares, platform by platform.
pub(super) async fn differences(
    build: &Build,
    request: BuildRequest,
    first: &BuildResult,
    (store, images): (&Store, &Images),
    progress: &Progress,
) -> Result<Vec<Difference>, CommandError> {
    let recording = Recording::start(store, &request, progress)?;
    let second = build.build(request, &recording).await;
    let second = match second {
        Ok(second) => {
            recording.complete();
            second
        }
        Err(error) => {
            recording.fail(&error);
            return Err(error.into());
        }
    };
    let task = progress.start("comparing both builds");
    let mut all = Vec::new();
    for (first, second) in first.images.iter().zip(&second.images) {
        let (store, images) = (store.clone(), images.clone());
        let (first, second) = (first.clone(), second.clone());
        let compared = tokio::task::spawn_blocking(move || compare(&store, &images, &first, &second)).await;
        all.extend(compared.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?);
    }
    task.done();
    Ok(all)
}

/// Differences are an error, and a build that fails gives nothing a name.
pub(super) fn judge(differences: &[Difference]) -> Result<(), CommandError> {
    let count = differences.len();
    if count == 0 {
        return Ok(());
    }
    let places = match count {
        1 => "one place".to_owned(),
        count => format!("{count} places"),
    };
    let message = format!("building twice gave two different images: they differ in {places}");
    let error = CommandError::user(message);
    Err(match differences.iter().all(Difference::is_of_time) {
        true => error.hint("only times differ: `--reproducible` or SOURCE_DATE_EPOCH makes them the same"),
        false => error,
    })
}
