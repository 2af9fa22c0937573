//! The web site: its sources, its generated files, its headers.

use super::*;
use crate::{SiteBuild, StaticSite};

const POOL: &str = "
  Pool: {Type: AWS::Cognito::UserPool}
  Client: {Type: AWS::Cognito::UserPoolClient, Properties: {UserPoolId: !Ref Pool}}
  Login: {Type: AWS::Cognito::UserPoolDomain, Properties: {UserPoolId: !Ref Pool, Domain: login-x}}
";

/// A template whose entry has these properties, from line 3 on.
fn site(properties: &str) -> String {
    let properties: String = properties.trim().lines().map(|line| format!("    {}\n", line.trim_end())).collect();
    format!(
        "Metadata:\n  StaticSite:\n{properties}Parameters:\n  Most: {{Type: Number, Default: 50}}\n  \
         Half: {{Type: Number, Default: 0.5}}\n  Name: {{Type: String, Default: '7'}}\n  \
         Names: {{Type: CommaDelimitedList, Default: 'a, b'}}\nConditions:\n  Never: !Equals [a, b]\n\
         Outputs:\n  Api: {{Value: 'https://api.example'}}\n  Issuer: {{Value: !GetAtt Pool.ProviderURL}}\n  \
         Absent: {{Value: x, Condition: Never}}\nResources:{POOL}"
    )
}

fn read_site(properties: &str) -> StaticSite {
    read(&site(properties)).static_site.expect("a site")
}

#[test]
fn without_an_entry_there_is_no_site() {
    assert_eq!(read(&with_resources("  Q: {Type: AWS::SQS::Queue}\n")).static_site, None);
    assert_eq!(read(&format!("Metadata: {{Other: 1}}\nResources:{POOL}")).static_site, None);
}

#[test]
fn paths_are_relative_to_the_template_and_sources_to_the_build_folder() {
    let build = "{Directory: ../web, Run: npm run build, Install: npm ci, Needs: Node, Sources: [src, a.json]}";
    let site = read_site(&format!("Directory: ../web/dist\nBuild: {build}\nFallback: index.html\nImmutable: assets"));
    assert_eq!(site.directory, Path::new("infra/../web/dist"));
    let build = SiteBuild {
        directory: PathBuf::from("infra/../web"),
        needs: Some("Node".to_owned()),
        install: Some("npm ci".to_owned()),
        run: "npm run build".to_owned(),
        sources: vec!["src".to_owned(), "a.json".to_owned()],
    };
    assert_eq!(site.build, Some(build));
    assert_eq!((site.fallback.as_deref(), site.immutable.as_deref()), (Some("index.html"), Some("assets")));
    assert_eq!(read_site("Directory: d").build, None);
}

#[test]
fn an_unknown_property_is_an_error_with_its_line() {
    let properties = "
Direktory: d
Build: {Dir: d, Run: r, Sources: [s]}
Fallback: ../index.html
Immutable: /assets
Files: {config.txt: {}, ../c.json: {}}
Headers: Head";
    assert_problems(
        &site(properties),
        &[
            (3, "Metadata.StaticSite does not have the property \"Direktory\": did you mean \"Directory\"?"),
            (3, "Metadata.StaticSite needs the property \"Directory\""),
            (4, "Metadata.StaticSite.Build does not have the property \"Dir\""),
            (4, "Metadata.StaticSite.Build needs the property \"Directory\""),
            (5, "Metadata.StaticSite.Fallback is \"../index.html\", but must be a relative path inside the directory"),
            (6, "Metadata.StaticSite.Immutable is \"/assets\", but must be a relative path inside"),
            (7, "The file config.txt must end with .json"),
            (7, "The file's name is \"../c.json\", but must be a relative path inside"),
            (8, "Metadata.StaticSite.Headers is Head, which is not an AWS::CloudFront::ResponseHeadersPolicy"),
        ],
    );
    assert_problems(&site("[]"), &[(3, "Metadata.StaticSite must be a map, but is a list")]);
    assert_problems(
        &site("Directory: d\nFiles: text\nBuild: {Directory: d, Run: r, Sources: s}"),
        &[
            (4, "Metadata.StaticSite.Files must be a map of files"),
            (5, "Metadata.StaticSite.Build.Sources must be a list, but is text"),
        ],
    );
}

#[test]
fn generated_files_contain_outputs_parameters_and_plain_values() {
    let files = "
Directory: d
Files:
  config.json:
    api: {Output: Api}
    limits: {most: {Parameter: Most}, half: {Parameter: Half}, name: {Parameter: Name}, names: {Parameter: Names}}
    written: [1, true, text, {a: 1.5}, {Output: Api}]";
    let files = read_site(files).files;
    assert_eq!(
        files["config.json"],
        json!({
            "api": "https://api.example",
            "limits": { "most": 50, "half": 0.5, "name": "7", "names": ["a", "b"] },
            "written": [1, true, "text", { "a": 1.5 }, "https://api.example"],
        })
    );
}

#[test]
fn a_value_can_depend_on_whether_the_issuer_is_the_local_one() {
    let of = |output: &str| {
        let value = format!("{{IfLocalIssuer: {output}, Then: local, Else: oidc}}");
        read_site(&format!("Directory: d\nFiles: {{c.json: {value}}}")).files["c.json"].clone()
    };
    assert_eq!((of("Issuer"), of("Api")), (json!("local"), json!("oidc")));
}

#[test]
fn a_value_that_cannot_be_looked_up_is_an_error_with_its_line() {
    let wrong = "
Directory: d
Files:
  c.json:
    a: {Output: Apis}
    b: {Parameter: Mosd}
    c: {Ouput: Api}
    d: {Output: Api, Parameter: Most}
    e: {Output: Api, Then: x}
    f: {IfLocalIssuer: Issuer, Then: x}
    g: !Ref Most
    h: {Output: Absent}
    i: {Output: [Api]}";
    let value = "A value in Metadata.StaticSite.Files";
    assert_problems(
        &site(wrong),
        &[
            (6, &format!("{value}.Output is Apis, which is not an output with a value here: did you mean \"Api\"?")),
            (
                7,
                &format!(
                    "{value}.Parameter is Mosd, which is not a parameter of this template: did you mean \"Most\"?"
                ),
            ),
            (8, &format!("{value} does not have the property \"Ouput\": did you mean \"Output\"?")),
            (8, &format!("{value} needs one of Output, Parameter and IfLocalIssuer")),
            (9, &format!("{value} needs one of Output, Parameter and IfLocalIssuer")),
            (10, &format!("{value}.Then is allowed only with IfLocalIssuer")),
            (11, &format!("{value}.IfLocalIssuer needs Else beside it")),
            (12, "CloudFormation does not compute !Ref in Metadata: write {Parameter: NAME} or {Output: NAME}"),
            (13, &format!("{value}.Output is Absent, which is not an output with a value here")),
            (14, &format!("{value}.Output must be text, but is a list")),
        ],
    );
}

/// A site with a policy of these headers, which begin on line 5.
fn with_headers(config: &str) -> String {
    format!(
        "Metadata: {{StaticSite: {{Directory: d, Headers: Policy}}}}\nResources:\n  Policy:\n    \
         Type: AWS::CloudFront::ResponseHeadersPolicy\n    \
         Properties: {{ResponseHeadersPolicyConfig: {{Name: n, {config}}}}}\n"
    )
}

#[test]
fn the_site_has_the_headers_of_its_policy() {
    let config = "SecurityHeadersConfig: {
      ContentSecurityPolicy: {ContentSecurityPolicy: !Sub \"img-src https://s3.${AWS::Region}.amazonaws.com\", \
                  Override: true},
      ContentTypeOptions: {Override: true},
      FrameOptions: {FrameOption: DENY, Override: true},
      ReferrerPolicy: {ReferrerPolicy: no-referrer, Override: true},
      StrictTransportSecurity: {AccessControlMaxAgeSec: 60, IncludeSubdomains: true, Preload: false, Override: true}},
      CustomHeadersConfig: {Items: [{Header: Permissions-Policy, Value: camera=(), Override: false}]}, \
                  Comment: ignored";
    let headers = read(&with_headers(config)).static_site.expect("a site").headers;
    let expected = [
        ("Content-Security-Policy", "img-src https://s3.eu-central-1.amazonaws.com"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Permissions-Policy", "camera=()"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_header_that_cannot_be_sent_is_an_error() {
    let config = "SecurityHeadersConfig: {
      ContentSecurityPolicy: {ContentSecurityPolicy: \"a\\nb\", Override: true},
      FrameOptions: {FrameOption: deny, Override: 1},
      StrictTransportSecurity: {AccessControlMaxAgeSec: long, Override: true},
      XSSProtection: {Protection: true}},
      CustomHeadersConfig: {Items: [{Header: a b, Value: x, Override: true}]}";
    assert_problems(
        &with_headers(config),
        &[
            (6, "ContentSecurityPolicy.ContentSecurityPolicy must be one line of text"),
            (7, "FrameOptions.FrameOption cannot be \"deny\": did you mean \"DENY\"?"),
            (7, "FrameOptions.Override must be true or false"),
            (8, "StrictTransportSecurity.AccessControlMaxAgeSec must be a whole number"),
            (9, "SecurityHeadersConfig does not have the property \"XSSProtection\""),
            (10, "A custom header.Header is \"a b\", which is not a valid header name"),
        ],
    );
}

#[test]
fn a_user_pools_domain_is_a_prefix_of_a_pool_here() {
    let source = format!("Resources:{POOL}");
    assert_eq!(read(&source).user_pool_domains, ["login-x"]);
    for wrong in ["Login", "login.example", "login-", "!Ref Client"] {
        let message = "AWS::Cognito::UserPoolDomain.Domain is \"";
        assert_problems(&source.replace("Domain: login-x", &format!("Domain: {wrong}")), &[(4, message)]);
    }
    let other = source.replace("UserPoolId: !Ref Pool, Domain", "UserPoolId: p, Domain");
    assert_problems(&other, &[(4, "AWS::Cognito::UserPoolDomain.UserPoolId is \"p\", which is not a user pool")]);
}

#[test]
fn resources_that_deliver_a_deployed_site_are_skipped() {
    let types = [
        "CloudFront::Distribution",
        "CloudFront::Function",
        "CloudFront::OriginAccessControl",
        "Cognito::UserPoolGroup",
    ];
    for name in types {
        let source = with_resources(&format!("  D: {{Type: AWS::{name}, Properties: {{Any: !Ref D}}}}\n"));
        assert_eq!(read(&source).functions, []);
        let value = "is AWS::";
        let used = format!("{source}{}", function("F", "Environment: {Variables: {D: !Ref D}}"));
        assert!(error(&used).contains(value), "{}", error(&used));
    }
}
