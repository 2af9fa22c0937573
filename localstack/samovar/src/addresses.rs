//! Replaces the template's own addresses on AWS by the local ones.
//!
//! A template names its own APIs, function URLs, buckets and user pools by the host names that they have on AWS.
//! Wherever such an address is given to a function or a browser, the local one takes its place.

use samovar_template::Template;

use crate::function_url;

#[derive(Debug)]
pub(crate) struct Addresses {
    /// The ids of all APIs. They share the same listeners, and the path tells them apart.
    api_ids: Vec<String>,
    buckets: Vec<String>,
    user_pool_domains: Vec<String>,
    /// The ids of the function URLs.
    url_ids: Vec<String>,
    /// The address of S3 for clients.
    s3: String,
    region: String,
}

impl Addresses {
    pub(crate) fn of(template: &Template, s3: &str, region: &str) -> Self {
        let websocket = template.websocket_apis.iter().map(|api| api.api_id.clone());
        Self {
            api_ids: websocket
                .chain(template.http_apis.iter().map(|api| api.api_id.clone()))
                .chain(template.rest_apis.iter().map(|api| api.api_id.clone()))
                .collect(),
            buckets: template.buckets.iter().map(|bucket| bucket.name.clone()).collect(),
            user_pool_domains: template.user_pool_domains.clone(),
            url_ids: template.functions.iter().filter_map(|it| Some(it.url.as_ref()?.id.clone())).collect(),
            s3: s3.to_owned(),
            region: region.to_owned(),
        }
    }

    /// Returns the text with local addresses. APIs are at `url`.
    pub(crate) fn localize(&self, text: &str, url: &str) -> String {
        let (region, s3) = (&self.region, &self.s3);
        let mut text = text.replace(&format!("https://s3.{region}.amazonaws.com"), s3);
        for bucket in &self.buckets {
            // Path style is used, because a host name per bucket would have to be resolved.
            text = text.replace(&format!("https://{bucket}.s3.{region}.amazonaws.com"), &format!("{s3}/{bucket}"));
        }
        for api_id in &self.api_ids {
            let host = format!("{api_id}.execute-api.{region}.amazonaws.com");
            text = text.replace(&format!("https://{host}"), url);
            text = text.replace(&format!("wss://{host}"), &url.replacen("http", "ws", 1));
            text = replace_host(&text, &host, url.split_once("://").map_or(url, |(_, host)| host));
        }
        for id in &self.url_ids {
            let own = format!("{url}/{}/{id}", function_url::PATH);
            text = text.replace(&format!("https://{id}.lambda-url.{region}.on.aws"), &own);
        }
        for domain in &self.user_pool_domains {
            text = text.replace(&format!("https://{domain}.auth.{region}.amazoncognito.com"), url);
        }
        text
    }
}

/// Replaces a host name that is not a part of a longer one. Code puts a scheme and a path around it, and the stack
/// answers to `https` too.
fn replace_host(text: &str, host: &str, local: &str) -> String {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(host) {
        let (before, after) = (&rest[..at], &rest[at + host.len()..]);
        let is_part = before.ends_with(is_of_name) || after.starts_with(is_of_name);
        replaced.push_str(before);
        replaced.push_str(if is_part { host } else { local });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn localize(text: &str) -> String {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let addresses = Addresses {
            api_ids: texts(&["api", "httpapi"]),
            buckets: texts(&["media"]),
            user_pool_domains: texts(&["login"]),
            url_ids: texts(&["helpurl"]),
            s3: "http://127.0.0.1:2".to_owned(),
            region: "us-east-1".to_owned(),
        };
        addresses.localize(text, "http://127.0.0.1:1")
    }

    #[test]
    fn s3_becomes_the_public_address() {
        assert_eq!(localize("https://s3.us-east-1.amazonaws.com"), "http://127.0.0.1:2");
        assert_eq!(localize("https://s3.us-east-1.amazonaws.com/media/a"), "http://127.0.0.1:2/media/a");
        assert_eq!(localize("https://media.s3.us-east-1.amazonaws.com/a"), "http://127.0.0.1:2/media/a");
        for other in ["https://s3.eu-west-1.amazonaws.com", "https://others.s3.us-east-1.amazonaws.com"] {
            assert_eq!(localize(other), other);
        }
    }

    #[test]
    fn an_address_of_an_own_api_becomes_the_local_one_and_others_stay() {
        assert_eq!(localize("https://api.execute-api.us-east-1.amazonaws.com/ws"), "http://127.0.0.1:1/ws");
        assert_eq!(localize("wss://api.execute-api.us-east-1.amazonaws.com/ws"), "ws://127.0.0.1:1/ws");
        assert_eq!(localize("https://httpapi.execute-api.us-east-1.amazonaws.com"), "http://127.0.0.1:1");
        assert_eq!(localize("https://httpapi.execute-api.us-east-1.amazonaws.com/v1/a"), "http://127.0.0.1:1/v1/a");
        assert_eq!(localize("https://login.auth.us-east-1.amazoncognito.com"), "http://127.0.0.1:1");
        let function = "https://helpurl.lambda-url.us-east-1.on.aws/a";
        assert_eq!(localize(function), "http://127.0.0.1:1/_lambda-url/helpurl/a");
        let other = "https://other.execute-api.us-east-1.amazonaws.com/ws";
        assert_eq!(localize(other), other);
    }

    #[test]
    fn a_host_name_alone_becomes_host_and_port() {
        assert_eq!(localize("api.execute-api.us-east-1.amazonaws.com"), "127.0.0.1:1");
        assert_eq!(localize("api.execute-api.us-east-1.amazonaws.com/ws"), "127.0.0.1:1/ws");
        let both = "httpapi.execute-api.us-east-1.amazonaws.com,api.execute-api.us-east-1.amazonaws.com";
        assert_eq!(localize(both), "127.0.0.1:1,127.0.0.1:1");
        for other in ["my.api.execute-api.us-east-1.amazonaws.com", "api.execute-api.us-east-1.amazonaws.com.cn"] {
            assert_eq!(localize(other), other);
        }
    }

    #[test]
    fn every_address_of_a_text_is_replaced() {
        let policy = "connect-src 'self' https://api.execute-api.us-east-1.amazonaws.com \
                      wss://api.execute-api.us-east-1.amazonaws.com https://s3.us-east-1.amazonaws.com";
        let local = "connect-src 'self' http://127.0.0.1:1 ws://127.0.0.1:1 http://127.0.0.1:2";
        assert_eq!(localize(policy), local);
    }
}
