//! Against a real registry with injected faults, as tools/basekit serves it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use camino::Utf8PathBuf;
use plimsoll_oci::{Digest, Hasher, ImageIndex, ImageManifest, ImageRef};
use plimsoll_registry::{FailureKind, Registry, RegistryError, RegistrySettings};

const BASEKIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/basekit/basekit");

/// A running registry, stopped on drop.
struct Basekit {
    host: String,
    port: String,
    ca: Option<Utf8PathBuf>,
}

impl Basekit {
    /// None, with a message, where what basekit needs is not installed.
    fn serve(options: &[&str]) -> Option<Self> {
        let mut command = Command::new(BASEKIT);
        command
            .args(["serve", "--port", "0", "--images", "busybox"])
            .args(options);
        let output = command.output().ok().filter(|output| output.status.success());
        let Some(output) = output else {
            eprintln!("skipped: needs what `tools/basekit/basekit install-deps` installs");
            return None;
        };
        let facts: serde_json::Value = serde_json::from_slice(&output.stdout).expect("serve prints JSON");
        Some(Self {
            host: facts["host"].as_str().expect("a host").to_owned(),
            port: facts["port"].to_string(),
            ca: facts["ca"].as_str().map(Into::into),
        })
    }

    /// A registry that has this one as mirror of docker.io.
    fn registry(&self, settings: RegistrySettings, config: Option<&Path>) -> Registry {
        let settings = RegistrySettings {
            mirrors: vec![self.host.clone()],
            ..settings
        };
        let config =
            config.map(|path| Utf8PathBuf::try_from(path.to_owned()).expect("a temporary path is UTF-8"));
        Registry::new(BTreeMap::from([("docker.io".to_owned(), settings)]), config)
    }
}

impl Drop for Basekit {
    fn drop(&mut self) {
        let _ = Command::new(BASEKIT)
            .args(["stop", "--port", &self.port])
            .output();
    }
}

/// Fetches all there is of an image and returns the bytes of its layers.
async fn fetch_all(registry: &Registry) -> Result<u64, RegistryError> {
    let name: ImageRef = "busybox".parse().unwrap();
    let index = registry.manifest(&name).await?;
    let index: ImageIndex = serde_json::from_slice(&index.bytes).unwrap();
    let mut total = 0;
    for entry in index.manifests() {
        let digest = Digest::try_from(entry.digest()).unwrap();
        let manifest = registry.manifest(&name.with_digest(digest)).await?;
        assert_eq!(manifest.digest, digest);
        let manifest: ImageManifest = serde_json::from_slice(&manifest.bytes).unwrap();
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            let mut hasher = Hasher::new();
            let mut write = |bytes: &[u8]| {
                hasher.update(bytes);
                Ok(())
            };
            registry.blob(&name, blob, 0, &mut write).await?;
            assert_eq!(hasher.finish(), Digest::try_from(blob.digest()).unwrap());
            total += blob.size();
        }
    }
    Ok(total)
}

#[tokio::test]
async fn faults_are_overcome() {
    let Some(kit) = Basekit::serve(&["--fail-first", "2", "--kinds", "500,503,429,cut,reset"]) else {
        return;
    };
    assert!(
        fetch_all(&kit.registry(RegistrySettings::default(), None))
            .await
            .unwrap()
            > 1_000_000
    );
}

#[tokio::test]
async fn an_own_certificate_authority_is_trusted_when_configured() {
    let Some(kit) = Basekit::serve(&["--tls"]) else {
        return;
    };
    let name: ImageRef = format!("{}/library/busybox", kit.host).parse().unwrap();
    let registry = |settings| Registry::new(BTreeMap::from([(kit.host.clone(), settings)]), None);
    let error = registry(RegistrySettings::default())
        .manifest(&name)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable, "{error}");
    registry(RegistrySettings {
        insecure: true,
        ..Default::default()
    })
    .manifest(&name)
    .await
    .unwrap();
    registry(RegistrySettings {
        ca: kit.ca.clone(),
        ..Default::default()
    })
    .manifest(&name)
    .await
    .unwrap();
}

#[tokio::test]
async fn tokens_for_anybody() {
    let Some(kit) = Basekit::serve(&["--token", "user:pass"]) else {
        return;
    };
    fetch_all(&kit.registry(RegistrySettings::default(), None))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_password_from_dockers_configuration() {
    let Some(kit) = Basekit::serve(&["--htpasswd", "user:pass"]) else {
        return;
    };
    let name: ImageRef = format!("{}/library/busybox", kit.host).parse().unwrap();
    let error = Registry::new(BTreeMap::new(), None)
        .manifest(&name)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unauthorised, "{error}");
    let folder = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#, kit.host);
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    fetch_all(&kit.registry(RegistrySettings::default(), Some(folder.path())))
        .await
        .unwrap();
}
