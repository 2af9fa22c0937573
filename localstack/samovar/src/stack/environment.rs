//! The environment of a function: the template's variables, and the addresses of the local services.
//!
//! Functions use the plain SDK, which reads endpoints and credentials from the environment. So a function need not know
//! that it does not run on AWS. Credentials name the function, so that calls can be told apart. Only where functions
//! call another emulator themselves, they may have to have credentials that it knows ([`emulators_credentials`]).
//! Addresses of the template's own APIs are replaced by local ones. S3's regional endpoint is replaced by the public
//! address, because functions use it in presigned URLs for their clients.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use samovar_services::Credentials;
use samovar_template::{Function, Template};

use crate::addresses::Addresses;
use crate::aws_names;
use crate::options::Options;
use crate::other_services;
use crate::tls::Trust;

/// The access key's name for functions that run elsewhere.
pub(super) const INVOKE_ENDPOINT: &str = "invoke-endpoint";

const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The addresses of services that may be another emulator's.
#[derive(Debug)]
pub(super) struct Endpoints<'a> {
    /// S3, for a function's own calls.
    pub(super) s3: &'a str,
    /// S3, for the clients of its presigned URLs.
    pub(super) public_s3: &'a str,
    /// The services that the stack does not have. `None` if no emulator has them.
    pub(super) others: Option<&'a str>,
}

/// The credentials in samovar's own environment, if S3 is another emulator's. That one may know no others, and
/// functions call it themselves.
///
/// # Errors
/// Half of them is missing.
#[allow(clippy::disallowed_methods, reason = "the one place where samovar's own credentials are read")]
pub(super) fn emulators_credentials(options: &Options) -> Result<Option<Credentials>> {
    credentials_for(options, |name| std::env::var(name).ok())
}

fn credentials_for(options: &Options, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Credentials>> {
    let Some(url) = options.s3_url() else { return Ok(None) };
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let (access_key, secret_key) = match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key), Some(secret_key)) => (access_key, secret_key),
        (None, None) => return Ok(None),
        (id, _) => {
            let (set, missing) = match id {
                Some(_) => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
                None => ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
            };
            bail!("{set} is set and {missing} is not: set both to the credentials that {url} knows, or none of them")
        }
    };
    Ok(Some(Credentials { access_key, secret_key, session_token: variable("AWS_SESSION_TOKEN") }))
}

/// `credentials` are those of [`emulators_credentials`]. Without them, the function has credentials of its own. With
/// `trust`, it accepts the certificates of the stack.
pub(super) fn of(
    function: &Function,
    template: &Template,
    internal_url: &str,
    endpoints: &Endpoints<'_>,
    region: &str,
    credentials: Option<&Credentials>,
    trust: Option<&Trust>,
) -> BTreeMap<String, String> {
    let services = format!("{internal_url}{}", samovar_services::PATH);
    let refused = format!("{internal_url}{}", other_services::PATH);
    let own = || Credentials {
        access_key: samovar_services::access_key(&function.name),
        secret_key: samovar_services::SECRET_KEY.to_owned(),
        session_token: Some(samovar_services::SESSION_TOKEN.to_owned()),
    };
    let Credentials { access_key, secret_key, session_token } = credentials.cloned().unwrap_or_else(own);
    let mut environment = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID".to_owned(), access_key),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), secret_key),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ("AWS_ENDPOINT_URL".to_owned(), endpoints.others.unwrap_or(&refused).to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), services.clone()),
        ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS".to_owned(), services.clone()),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), endpoints.others.unwrap_or(&services).to_owned()),
        ("AWS_ENDPOINT_URL_LAMBDA".to_owned(), refused),
        ("AWS_ENDPOINT_URL_S3".to_owned(), endpoints.s3.to_owned()),
        ("AWS_ENDPOINT_URL_SNS".to_owned(), services.clone()),
        ("AWS_ENDPOINT_URL_SQS".to_owned(), services),
    ]);
    environment.extend(session_token.map(|token| ("AWS_SESSION_TOKEN".to_owned(), token)));
    // The output of functions appears on this process's standard error, and has colours only if that is a terminal.
    if !std::io::stderr().is_terminal() {
        environment.insert("NO_COLOR".to_owned(), "1".to_owned());
    }
    if let [api] = template.websocket_apis.as_slice() {
        let management = format!("{internal_url}/{}", api.stage);
        environment.insert("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI".to_owned(), management);
    }
    if let Some(trust) = trust {
        environment.extend(trust.variables());
        environment.insert(aws_names::VARIABLE.to_owned(), internal_url.replacen("http://", "", 1));
    }
    let addresses = Addresses::of(template, endpoints.public_s3, region);
    for (name, value) in &function.environment {
        environment.insert(name.clone(), addresses.localize(value, internal_url));
    }
    environment
}

/// The variables of the local stack's own environment that a function inherits by the template. They are for functions
/// that run here, and are not shown anywhere.
#[allow(clippy::disallowed_methods, reason = "the one place where it is let through")]
pub(super) fn passed_on(function: &Function) -> impl Iterator<Item = (String, String)> {
    function.local_environment.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
}

/// The environment of functions that run elsewhere, as a `.env` file with the variables of all of them. If they are to
/// have the credentials of another emulator (`shared`), those are not in it: they are not shown anywhere.
pub(super) fn dotenv(
    template: &Template,
    url: &str,
    endpoints: &Endpoints<'_>,
    region: &str,
    shared: bool,
    trust: Option<&Trust>,
) -> String {
    let mut all = BTreeMap::from([("AWS_REGION".to_owned(), region.to_owned())]);
    for function in &template.functions {
        all.extend(of(function, template, url, endpoints, region, None, trust));
    }
    match shared {
        true => all.retain(|name, _| !CREDENTIALS.contains(&name.as_str())),
        false => drop(all.insert("AWS_ACCESS_KEY_ID".to_owned(), samovar_services::access_key(INVOKE_ENDPOINT))),
    }
    all.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Defaults;

    fn credentials(arguments: &[&str], set: &[(&str, &str)]) -> Result<Option<Credentials>> {
        let arguments = ["samovar"].iter().chain(arguments);
        let options = Options::from_args(arguments, &Defaults::default()).expect("options");
        let variable = |name: &str| Some(set.iter().find(|(known, _)| *known == name)?.1.to_owned());
        credentials_for(&options, variable)
    }

    #[test]
    fn credentials_are_another_emulators_only_if_functions_call_it_themselves() {
        let set = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let emulator = "http://localhost:9000";
        for embedded in [&[][..], &["--sqs-endpoint-url", emulator], &["--dynamodb-endpoint-url", emulator]] {
            assert_eq!(credentials(embedded, &set).unwrap(), None, "{embedded:?}");
        }
        for option in ["--s3-endpoint-url", "--aws-endpoint-url"] {
            let given = credentials(&[option, emulator], &set).unwrap().unwrap();
            assert_eq!(
                (given.access_key, given.secret_key, given.session_token),
                ("key".into(), "secret".into(), None)
            );
            assert_eq!(credentials(&[option, emulator], &[("AWS_ACCESS_KEY_ID", "")]).unwrap(), None);
            let temporary = [set[0], set[1], ("AWS_SESSION_TOKEN", "token")];
            let given = credentials(&[option, emulator], &temporary).unwrap().unwrap();
            assert_eq!(given.session_token.as_deref(), Some("token"));
        }
    }

    #[test]
    fn half_of_the_credentials_is_an_error_that_names_the_other_half() {
        let of = |name| credentials(&["--s3-endpoint-url", "http://localhost:9000"], &[(name, "x")]).unwrap_err();
        let error = of("AWS_ACCESS_KEY_ID").to_string();
        assert!(error.contains("AWS_SECRET_ACCESS_KEY is not") && error.contains("http://localhost:9000"), "{error}");
        assert!(of("AWS_SECRET_ACCESS_KEY").to_string().contains("AWS_ACCESS_KEY_ID is not"));
    }
}
