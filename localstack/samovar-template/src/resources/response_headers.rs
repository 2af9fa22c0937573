//! `AWS::CloudFront::ResponseHeadersPolicy`: the headers of a static site's responses, both here and when deployed.
//!
//! `Override` has no effect: the local files have none of these headers of their own.

use http::{HeaderName, HeaderValue};

use super::Context;
use crate::fields::{Fields, Schema};
use crate::model::ResponseHeaders;
use crate::resource::{Kind, Resource};

pub(crate) const POLICY: Schema = Schema {
    subject: "AWS::CloudFront::ResponseHeadersPolicy",
    required: &["ResponseHeadersPolicyConfig"],
    optional: &[],
    ignored: &[],
};

pub(crate) const CONFIG: Schema = Schema {
    subject: "ResponseHeadersPolicyConfig",
    required: &["Name"],
    optional: &["CustomHeadersConfig", "SecurityHeadersConfig"],
    ignored: &["Comment", "RemoveHeadersConfig", "ServerTimingHeadersConfig"],
};

pub(crate) const SECURITY: Schema = Schema {
    subject: "SecurityHeadersConfig",
    required: &[],
    optional: &[
        "ContentSecurityPolicy",
        "ContentTypeOptions",
        "FrameOptions",
        "ReferrerPolicy",
        "StrictTransportSecurity",
    ],
    ignored: &[],
};

pub(crate) const CONTENT_SECURITY: Schema = Schema {
    subject: "ContentSecurityPolicy",
    required: &["ContentSecurityPolicy", "Override"],
    optional: &[],
    ignored: &[],
};

pub(crate) const CONTENT_TYPE: Schema =
    Schema { subject: "ContentTypeOptions", required: &["Override"], optional: &[], ignored: &[] };

pub(crate) const FRAME: Schema =
    Schema { subject: "FrameOptions", required: &["FrameOption", "Override"], optional: &[], ignored: &[] };

pub(crate) const REFERRER: Schema =
    Schema { subject: "ReferrerPolicy", required: &["Override", "ReferrerPolicy"], optional: &[], ignored: &[] };

/// Checked but not sent: the header is for https only, and the site is plain http here.
pub(crate) const TRANSPORT: Schema = Schema {
    subject: "StrictTransportSecurity",
    required: &["AccessControlMaxAgeSec", "Override"],
    optional: &["IncludeSubdomains", "Preload"],
    ignored: &[],
};

pub(crate) const CUSTOM: Schema =
    Schema { subject: "CustomHeadersConfig", required: &["Items"], optional: &[], ignored: &[] };

pub(crate) const CUSTOM_HEADER: Schema =
    Schema { subject: "A custom header", required: &["Header", "Override", "Value"], optional: &[], ignored: &[] };

const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

pub(crate) fn response_headers(context: &Context<'_>) -> Vec<ResponseHeaders> {
    let policies = context.scope.present(Kind::ResponseHeadersPolicy);
    policies.filter_map(|resource| build(context, resource)).collect()
}

fn build(context: &Context<'_>, resource: &Resource) -> Option<ResponseHeaders> {
    let policy = context.fields(resource, &POLICY);
    let config = policy.map("ResponseHeadersPolicyConfig", &CONFIG)?;
    config.text("Name");
    let mut headers = Vec::new();
    if let Some(security) = config.map("SecurityHeadersConfig", &SECURITY) {
        security_headers(&security, &mut headers);
    }
    if let Some(custom) = config.map("CustomHeadersConfig", &CUSTOM) {
        for item in custom.maps("Items", &CUSTOM_HEADER).unwrap_or_default() {
            item.boolean("Override");
            let Some(name) = item.text("Header") else { continue };
            if name.parse::<HeaderName>().is_err() {
                item.wrong("Header", &format!("is \"{name}\", which is not a valid header name"));
            }
            headers.extend(value(&item, "Value").map(|value| (name, value)));
        }
    }
    Some(ResponseHeaders { logical_id: resource.id.clone(), headers })
}

fn security_headers(security: &Fields<'_>, headers: &mut Vec<(String, String)>) {
    let mut add = |name: &str, value: Option<String>| headers.extend(value.map(|value| (name.to_owned(), value)));
    if let Some(content) = security.map("ContentSecurityPolicy", &CONTENT_SECURITY) {
        content.boolean("Override");
        add("Content-Security-Policy", value(&content, "ContentSecurityPolicy"));
    }
    if let Some(content_type) = security.map("ContentTypeOptions", &CONTENT_TYPE) {
        content_type.boolean("Override");
        add("X-Content-Type-Options", Some("nosniff".to_owned()));
    }
    if let Some(frame) = security.map("FrameOptions", &FRAME) {
        frame.boolean("Override");
        add("X-Frame-Options", frame.choice("FrameOption", &["DENY", "SAMEORIGIN"]));
    }
    if let Some(referrer) = security.map("ReferrerPolicy", &REFERRER) {
        referrer.boolean("Override");
        add("Referrer-Policy", referrer.choice("ReferrerPolicy", &REFERRER_POLICIES));
    }
    if let Some(transport) = security.map("StrictTransportSecurity", &TRANSPORT) {
        transport.integer("AccessControlMaxAgeSec", 0..=i32::MAX.cast_unsigned());
        for name in ["IncludeSubdomains", "Override", "Preload"] {
            transport.boolean(name);
        }
    }
}

/// A header's value: one line that HTTP can carry.
fn value(fields: &Fields<'_>, name: &str) -> Option<String> {
    let value = fields.text(name)?;
    if HeaderValue::from_str(&value).is_ok() {
        return Some(value);
    }
    fields.wrong(name, "must be one line of text without control characters, as HTTP requires of a header");
    None
}
