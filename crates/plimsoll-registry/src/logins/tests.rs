use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::fake::{Fake, Reply};

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("docker")).unwrap();
    (folder, path)
}

fn password(text: &str) -> Secret {
    Secret::Password(text.to_owned())
}

#[tokio::test]
async fn credentials_are_kept_as_docker_does() {
    let (_guard, folder) = folder();
    let logins = Logins::new(&folder);
    let file = folder.join("config.json");
    assert_eq!(
        logins.keep("r:5000", "me", password("pw")).unwrap(),
        Kept::File(file.clone())
    );
    logins
        .keep("docker.io", "hub", Secret::IdentityToken("t".to_owned()))
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        config,
        json!({"auths": {"r:5000": {"auth": "bWU6cHc="},
               "https://index.docker.io/v1/": {"auth": "aHViOg==", "identitytoken": "t"}}})
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(logins.get("r:5000").await.unwrap() == Some(("me".to_owned(), password("pw"))));
    assert!(logins.forget("r:5000").unwrap() && !logins.forget("r:5000").unwrap());
    assert!(logins.get("r:5000").await.unwrap().is_none());
    assert!(logins.get("docker.io").await.unwrap().is_some());
}

#[test]
fn the_rest_of_the_file_stays() {
    let (_guard, folder) = folder();
    fs::create_dir(&folder).unwrap();
    let file = folder.join("config.json");
    let text = r#"{"psFormat":"x","auths":{"https://r:5000/v1/":{"auth":"bWU6cHc="}},"proxies":{"a":1}}"#;
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    Logins::new(&folder)
        .keep("r:5000", "me", password("new"))
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let keys: Vec<String> = serde_json::from_str::<Map<String, Value>>(&text)
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["psFormat", "auths", "proxies"]);
    assert!(!text.contains("bWU6cHc="), "the old key is replaced: {text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        folder.read_dir_utf8().unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_linked_file_is_written_where_it_is() {
    let (_guard, folder) = folder();
    fs::create_dir(&folder).unwrap();
    let elsewhere = folder.join("elsewhere.json");
    fs::write(&elsewhere, "{}").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.join("config.json")).unwrap();
    Logins::new(&folder).keep("r:5000", "me", password("pw")).unwrap();
    assert!(fs::read_to_string(&elsewhere).unwrap().contains("r:5000"));
    assert!(folder.join("config.json").is_symlink());
}

#[test]
fn a_file_that_is_no_json_is_not_overwritten() {
    let (_guard, folder) = folder();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), "{ not json").unwrap();
    assert!(Logins::new(&folder).keep("r", "me", password("pw")).is_err());
    assert_eq!(
        fs::read_to_string(folder.join("config.json")).unwrap(),
        "{ not json"
    );
}

/// Lets `me` in with `pw`, by tokens; `refresh` is what it gives for later.
fn token_server(refresh: &'static str) -> Fake {
    Fake::start(move |request, _| {
        if request.path.starts_with("/token") {
            return match request.header("authorization") {
                Some("Basic bWU6cHc=") => Reply::new(200, format!(r#"{{"token":"good"{refresh}}}"#)),
                _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#)
                    .header("content-type", "application/json"),
            };
        }
        let realm = format!("http://{}/token", request.header("host").unwrap());
        match request.header("authorization") {
            Some("Bearer good") => Reply::new(200, "{}"),
            _ => Reply::new(401, "").header(
                "www-authenticate",
                format!("Bearer realm=\"{realm}\",service=\"s\""),
            ),
        }
    })
}

async fn log_in(fake: &Fake, secret: &str) -> Result<Secret, LoginError> {
    let registry = Registry::new(Default::default(), None);
    registry.log_in(&fake.address, "me", password(secret)).await
}

#[tokio::test]
async fn a_token_server_is_asked_for_an_identity() {
    let fake = token_server("");
    assert!(log_in(&fake, "pw").await.unwrap() == password("pw"));
    let paths: Vec<_> = fake.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(
        paths,
        [
            "/v2/",
            "/token?account=me&client_id=plimsoll&offline_token=true&service=s",
            "/v2/"
        ]
    );
    let fake = token_server(r#","refresh_token":"later""#);
    assert!(log_in(&fake, "pw").await.unwrap() == Secret::IdentityToken("later".to_owned()));
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_the_registrys_words() {
    let fake = token_server("");
    let error = log_in(&fake, "guess").await.err().unwrap().to_string();
    assert!(
        error.contains("did not let `me` in") && error.contains("incorrect username or password"),
        "{error}"
    );
    assert!(!error.contains("guess"), "{error}");
}

#[tokio::test]
async fn basic_authentication() {
    let fake = Fake::start(|request, _| match request.header("authorization") {
        Some("Basic bWU6cHc=") => Reply::new(200, "{}"),
        _ => Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\""),
    });
    assert!(log_in(&fake, "pw").await.unwrap() == password("pw"));
    assert!(log_in(&fake, "guess").await.is_err());
}
