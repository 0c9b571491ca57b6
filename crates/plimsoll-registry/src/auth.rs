//! Getting past a 401: the [token protocol] of the distribution project, and basic authentication.
//!
//! [token protocol]: https://distribution.github.io/distribution/spec/auth/token/

pub(crate) mod challenge;
pub(crate) mod docker_config;
pub(crate) mod helper;

use serde::Deserialize;

use crate::error::Failure;
use challenge::Challenge;
use docker_config::Credentials;

/// What this program calls itself to token servers.
const CLIENT: &str = "plimsoll";

/// What a request carries in its `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    Basic(String, String),
    Bearer(String),
}

impl Authorization {
    pub(crate) fn apply(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::Basic(user, password) => request.basic_auth(user, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// A request for a token, ready to be sent to the realm a registry named.
pub(crate) struct TokenRequest {
    pub(crate) realm: reqwest::Url,
    parameters: Vec<(&'static str, String)>,
    basic: Option<(String, String)>,
    post: bool,
}

impl TokenRequest {
    /// Asks for rights to repositories. An identity token is exchanged by POST, as OAuth 2 wants it.
    pub(crate) fn new(
        challenge: &Challenge,
        scopes: &[String],
        credentials: Option<&Credentials>,
    ) -> Result<Self, Failure> {
        let identity = credentials.and_then(|credentials| credentials.identity_token.clone());
        let post = identity.is_some();
        let mut parameters = match post {
            // OAuth 2 has one parameter of this name.
            true => vec![("scope", scopes.join(" "))],
            false => scopes.iter().map(|scope| ("scope", scope.clone())).collect(),
        };
        if let Some(token) = identity {
            parameters.push(("grant_type", "refresh_token".to_owned()));
            parameters.push(("client_id", CLIENT.to_owned()));
            parameters.push(("refresh_token", token));
        }
        let basic = credentials.filter(|_| !post).and_then(Credentials::basic);
        Self::to(challenge, parameters, basic, post)
    }

    /// Tries credentials, and asks for a token that stands for them from now on.
    pub(crate) fn login(challenge: &Challenge, credentials: &Credentials) -> Result<Self, Failure> {
        let account = ("account", credentials.user.clone());
        let parameters = vec![
            account,
            ("client_id", CLIENT.to_owned()),
            ("offline_token", "true".to_owned()),
        ];
        Self::to(challenge, parameters, credentials.basic(), false)
    }

    fn to(
        challenge: &Challenge,
        mut parameters: Vec<(&'static str, String)>,
        basic: Option<(String, String)>,
        post: bool,
    ) -> Result<Self, Failure> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let realm =
            reqwest::Url::parse(realm).map_err(|_| Failure::invalid(format!("a token realm `{realm}`")))?;
        let service = challenge.parameter("service").map(str::to_owned);
        parameters.extend(service.map(|service| ("service", service)));
        Ok(Self {
            realm,
            parameters,
            basic,
            post,
        })
    }

    /// Tells whether a secret would go over the wire.
    pub(crate) fn has_secret(&self) -> bool {
        self.post || self.basic.is_some()
    }

    pub(crate) fn build(&self, client: &reqwest::Client) -> reqwest::RequestBuilder {
        let mut url = self.realm.clone();
        url.query_pairs_mut().extend_pairs(&self.parameters);
        let request = if self.post {
            let form = url.query().unwrap_or_default().to_owned();
            let form_type = "application/x-www-form-urlencoded";
            client
                .post(self.realm.clone())
                .header(reqwest::header::CONTENT_TYPE, form_type)
                .body(form)
        } else {
            client.get(url)
        };
        match &self.basic {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

/// What a token server gives.
pub(crate) struct Tokens {
    pub(crate) authorization: Authorization,
    /// Stands for the credentials from now on.
    pub(crate) refresh: Option<String>,
}

impl Tokens {
    /// Reads a token server's answer.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            refresh_token: Option<String>,
        }
        let wrong = || Failure::invalid("a token answer without token");
        let answer: Answer = serde_json::from_slice(body).map_err(|_| wrong())?;
        let some = |token: Option<String>| token.filter(|token| !token.is_empty());
        let token = some(answer.token).or(some(answer.access_token));
        Ok(Self {
            authorization: token.map(Authorization::Bearer).ok_or_else(wrong)?,
            refresh: some(answer.refresh_token),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge() -> Challenge {
        challenge::parse(r#"Bearer realm="https://auth.example/token",service="reg"#).remove(0)
    }

    #[test]
    fn anonymous_and_basic_ask_with_get() {
        let client = crate::client::plain_client(crate::client::Purpose::Asking).unwrap();
        let request = TokenRequest::new(&challenge(), &["repository:library/node:pull".to_owned()], None)
            .unwrap()
            .build(&client)
            .build()
            .unwrap();
        assert_eq!(
            request.url().as_str(),
            "https://auth.example/token?scope=repository%3Alibrary%2Fnode%3Apull&service=reg"
        );
        let user = Credentials {
            user: "u".into(),
            password: "p".into(),
            ..Credentials::default()
        };
        let request = TokenRequest::new(&challenge(), &["a".to_owned(), "b".to_owned()], Some(&user))
            .unwrap()
            .build(&client)
            .build()
            .unwrap();
        assert_eq!(request.headers()["authorization"], "Basic dTpw");
    }

    #[test]
    fn an_identity_token_is_posted() {
        let client = crate::client::plain_client(crate::client::Purpose::Asking).unwrap();
        let user = Credentials {
            identity_token: Some("s".into()),
            ..Credentials::default()
        };
        let request = TokenRequest::new(&challenge(), &["a".to_owned(), "b".to_owned()], Some(&user))
            .unwrap()
            .build(&client)
            .build()
            .unwrap();
        assert_eq!((request.method().as_str(), request.url().query()), ("POST", None));
        let body = String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec()).unwrap();
        assert!(
            body.contains("grant_type=refresh_token")
                && body.contains("refresh_token=s")
                && body.contains("scope=a+b"),
            "{body}"
        );
    }

    #[test]
    fn both_names_of_a_token_are_read() {
        for text in [r#"{"token":"t"}"#, r#"{"access_token":"t","expires_in":300}"#] {
            let tokens = Tokens::parse(text.as_bytes()).unwrap();
            assert!(
                tokens.authorization == Authorization::Bearer("t".to_owned()) && tokens.refresh.is_none()
            );
        }
        assert!(Tokens::parse(b"{}").is_err() && Tokens::parse(b"<html>").is_err());
    }
}
