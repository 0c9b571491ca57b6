//! What an attached `up` and those who work on its containers meanwhile tell each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_container::Container;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// Who is followed, and whether there may be more. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audience {
    scene: Arc<watch::Sender<Scene>>,
    started: UnboundedSender<Container>,
}

/// Why the end of a container means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It is going to be started again.
    Restarted,
    /// Another takes its place.
    Replaced,
}

#[derive(Default)]
struct Scene {
    /// Ids of containers whose output is shown, or whose end is waited for; and whether it is.
    followed: BTreeMap<String, bool>,
    /// Those whose end means nothing, and why.
    leaving: BTreeMap<String, Leaving>,
    /// Nobody starts anything any more, or not now.
    is_settled: bool,
}

impl Scene {
    fn is_waiting(&self) -> bool {
        self.followed.values().any(|counts| *counts)
    }
}

impl Audience {
    /// Containers that are told to be running go to `started`.
    pub(crate) fn new(started: UnboundedSender<Container>) -> Self {
        let scene = Arc::new(watch::Sender::new(Scene::default()));
        Self { scene, started }
    }

    /// Where to tell which containers run.
    pub(crate) fn started(&self) -> UnboundedSender<Container> {
        self.started.clone()
    }

    /// Says whether containers are being started, so that it is not over when none runs.
    pub(crate) fn settle(&self, is_settled: bool) {
        self.scene.send_modify(|scene| scene.is_settled = is_settled);
    }

    /// Says that a container is about to be ended, until the next [`Audience::stay`].
    pub(crate) fn leave(&self, id: String, leaving: Leaving) {
        self.scene.send_modify(|scene| {
            scene.leaving.insert(id, leaving);
        });
    }

    /// Says that those which have not ended stay.
    pub(crate) fn stay(&self) {
        self.scene.send_modify(|scene| scene.leaving.clear());
    }

    /// Waits until the last a container wrote is shown, after it has ended.
    pub(crate) async fn seen_off(&self, id: &str) {
        let mut scenes = self.scene.subscribe();
        // It has an end itself only with all who could wait.
        let _ = scenes.wait_for(|scene| !scene.followed.contains_key(id)).await;
    }

    /// Notes that a container is followed, and whether its end is waited for; false if it is followed already.
    pub(super) fn follow(&self, id: &str, counts: bool) -> bool {
        let mut is_new = false;
        self.scene
            .send_modify(|scene| is_new = scene.followed.insert(id.to_owned(), counts).is_none());
        is_new
    }

    /// Whether nobody here starts anything now.
    pub(super) fn is_settled(&self) -> bool {
        self.scene.borrow().is_settled
    }

    /// Whether the end of any is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.scene.borrow().is_waiting()
    }

    /// Whether a container that has ended was meant to.
    pub(super) fn leaving(&self, id: &str) -> Option<Leaving> {
        self.scene.borrow().leaving.get(id).copied()
    }

    /// Notes that a container is not followed any more.
    pub(super) fn leave_off(&self, id: &str) {
        self.scene.send_modify(|scene| {
            scene.followed.remove(id);
            scene.leaving.remove(id);
        });
    }

    /// Returns when nobody's end is waited for, and nobody will come.
    pub(super) async fn over(&self) {
        let mut scenes = self.scene.subscribe();
        let _ = scenes
            .wait_for(|scene| scene.is_settled && !scene.is_waiting())
            .await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn it_is_over_when_nobody_runs_and_nobody_will() {
        let audience = Audience::new(unbounded_channel().0);
        let is_over = async || {
            let soon = std::time::Duration::from_millis(1);
            tokio::time::timeout(soon, audience.over()).await.is_ok()
        };
        assert!(!is_over().await, "the first is about to start");
        assert!(
            audience.follow("web", true) && !audience.follow("web", true),
            "once"
        );
        assert!(audience.follow("db", false), "it is only looked at");
        audience.settle(true);
        assert!(!is_over().await, "it runs");
        audience.settle(false);
        audience.leave("web".to_owned(), Leaving::Restarted);
        assert_eq!(audience.leaving("web"), Some(Leaving::Restarted));
        audience.leave_off("web");
        audience.seen_off("web").await;
        assert!(!is_over().await, "its place will be taken");
        assert!(audience.follow("web", true) && audience.leaving("web").is_none());
        audience.settle(true);
        audience.leave_off("web");
        assert!(is_over().await);
    }
}
