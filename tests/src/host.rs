//! The stack that the tests speak to.
//!
//! Each test starts a stack of its own, unless `PARLEY_URL` names one that runs already: on AWS, on an emulator, or
//! with its functions in `cargo lambda watch`. Then all tests share it, and every test has users of its own. Such a
//! stack can't be killed or started with other parameters, so a test that needs that is left out at the point where it
//! asks for it. `docs/testing.md` has the variables.

use std::io::Write as _;
use std::sync::OnceLock;

use serde_json::{Value, json};

/// How the tests get a user's token at a shared stack.
#[derive(Debug)]
enum Tokens {
    /// An address that answers as the local stack's `POST /_local/token` does.
    From(String),
    /// Tokens of real users, one each.
    Given(Vec<String>),
}

/// A running stack that all tests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) websocket_url: String,
    tokens: Tokens,
    /// Whether it has `/_local`.
    pub(crate) console: bool,
    /// Whether it counts what its functions do. It can't where they run elsewhere.
    pub(crate) counts: bool,
}

/// The shared stack of this run, if there is one.
pub(crate) async fn shared() -> Option<&'static Shared> {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    if SHARED.get().is_none() {
        let shared = match setting("PARLEY_URL") {
            Some(url) => Some(Shared::at(url.trim_end_matches('/')).await),
            None => None,
        };
        // Two tests may find out at the same time. They find the same.
        let _ = SHARED.set(shared);
    }
    SHARED.get().and_then(Option::as_ref)
}

/// Whether the tests share a stack.
pub(crate) fn is_shared() -> bool {
    setting("PARLEY_URL").is_some()
}

#[expect(clippy::disallowed_methods, reason = "the environment says which stack is tested")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Ends the test here, and writes it with the reason to the file `PARLEY_LEFT_OUT`. The program that runs the tests
/// counts them as left out, and not as failed.
pub(crate) fn left_out(reason: &str) -> ! {
    let thread = std::thread::current();
    let line = format!("{}\t{reason}\n", thread.name().unwrap_or("?"));
    if let Some(path) = setting("PARLEY_LEFT_OUT") {
        let file = std::fs::File::options().create(true).append(true).open(&path);
        // One call, so that lines of parallel tests stay whole.
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "{path} can't be written: {written:?}");
    }
    eprint!("left out: {line}");
    std::panic::resume_unwind(Box::new("left out"))
}

impl Shared {
    async fn at(url: &str) -> Self {
        let own = format!("{}/ws", url.replacen("http", "ws", 1));
        let state: Value = match reqwest::get(format!("{url}/_local/state")).await {
            Ok(answer) if answer.status().is_success() => answer.json().await.unwrap_or_default(),
            _ => Value::Null,
        };
        let console = state.is_object();
        let counts = state["functions"].as_object().is_some_and(|functions| !functions.is_empty());
        let tokens = match (setting("PARLEY_TOKEN"), setting("PARLEY_TOKEN_URL")) {
            (Some(tokens), _) => Tokens::Given(tokens.split(',').map(str::to_owned).collect()),
            (None, Some(address)) => Tokens::From(address),
            (None, None) => {
                assert!(console, "{url} has no local issuer: set PARLEY_TOKEN to a token, or to one for each user");
                Tokens::From(format!("{url}/_local/token"))
            }
        };
        Self { url: url.to_owned(), websocket_url: setting("PARLEY_WS_URL").unwrap_or(own), tokens, console, counts }
    }

    /// Whether the users are those of `PARLEY_TOKEN`.
    pub(crate) fn has_given_users(&self) -> bool {
        matches!(self.tokens, Tokens::Given(_))
    }

    /// A token for one of a test's users. `index` counts the users of the test.
    pub(crate) async fn token(&self, http: &reqwest::Client, user: &str, index: usize, groups: &[&str]) -> String {
        match &self.tokens {
            Tokens::Given(_) if !groups.is_empty() => left_out("it needs a member of a group"),
            Tokens::Given(tokens) => match tokens.get(index) {
                Some(token) => token.clone(),
                None => left_out("it needs more users than there are tokens"),
            },
            Tokens::From(address) => token_from(http, address, user, groups).await,
        }
    }
}

/// Asks an issuer like the local one for a token.
pub(crate) async fn token_from(http: &reqwest::Client, address: &str, user: &str, groups: &[&str]) -> String {
    let mut body = json!({ "username": user });
    if !groups.is_empty() {
        body["groups"] = json!(groups);
    }
    let response = http.post(address).json(&body).send().await.expect("an answer");
    let body: Value = response.json().await.expect("JSON");
    body["accessToken"].as_str().unwrap_or_else(|| panic!("no token: {body}")).to_owned()
}
