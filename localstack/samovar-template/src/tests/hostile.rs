//! Templates that no person would write. Each is read or refused in reasonable time and without a stack overflow.

use proptest::prelude::*;

use super::{function, locals, overrides, read_with, with_resources};
use crate::error::Problems;
use crate::{RouteKey, TemplateError, pattern, yaml};

const DEEP: usize = 1_000_000;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Texts of these words and of arbitrary text, in any order.
fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

#[test]
fn a_template_that_is_nested_a_million_deep_is_an_error() {
    let lists = "[".repeat(DEEP);
    for source in [
        lists.clone(),
        "{a: ".repeat(DEEP),
        "- ".repeat(DEEP),
        "? ".repeat(DEEP),
        "!Ref ".repeat(DEEP),
        "&a ".repeat(DEEP),
        "(".repeat(DEEP),
        format!("{lists}{}", "]".repeat(DEEP)),
        format!("Resources: {}x", "{\"Fn::Sub\": [".repeat(DEEP)),
        with_resources(&format!("  F: {lists}")),
        (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ] {
        let error = read_with(&source, &[]).expect_err("no template").to_string();
        assert!(error.len() < 1000, "{} bytes", error.len());
    }
}

#[test]
fn aliases_do_not_multiply_a_template() {
    let mut source = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (of, name) in ('a'..='y').zip('b'..='z') {
        source.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", ")));
    }
    read_with(&source, &[]).expect_err("no template");
}

#[test]
fn each_condition_is_decided_once_although_others_name_it_twice() {
    let mut conditions = "  C0: !Equals [a, a]\n".to_owned();
    for number in 1..64 {
        let before = number - 1;
        let twice = format!("[!Condition C{before}, !Condition C{before}]");
        conditions.push_str(&format!("  C{number}: !And {twice}\n"));
    }
    let resources = with_resources(&function("F", "Timeout: !If [C63, 7, 8]"));
    let template = read_with(&format!("Conditions:\n{conditions}{resources}"), &[]).expect("a template");
    assert_eq!(template.functions[0].timeout.as_secs(), 7);
}

#[test]
fn a_pattern_takes_little_time_however_its_groups_are_nested_and_repeated() {
    let repeated = |inside: &str| (0..20).fold(inside.to_owned(), |inside, _| format!("(?:{inside}){{1000}}"));
    for inside in ["a", "a*", "|a", "(?:|)", "^", "$"] {
        for value in ["", "a", "aaaaaaaaaaaaaaaa"] {
            let _ = pattern::matches(&repeated(inside), value);
        }
    }
    for deep in ["(".repeat(DEEP), format!("{}a{}", "(".repeat(DEEP), ")".repeat(DEEP))] {
        pattern::matches(&deep, "a").expect_err("too deep");
    }
}

fn template_text() -> impl Strategy<Value = String> {
    words(&[
        "Resources:\n",
        "Parameters:\n",
        "Conditions:\n",
        "Globals:\n",
        "Outputs:\n",
        "Transform: AWS::Serverless-2016-10-31\n",
        "  F:\n    Type: AWS::Serverless::Function\n",
        "    Properties:\n",
        "      Timeout: ",
        "Type: AWS::DynamoDB::Table",
        "!Sub ",
        "!Ref ",
        "!GetAtt ",
        "!If ",
        "Fn::Join: ",
        "${",
        "${!",
        "${AWS::StackName}",
        "}",
        "[",
        "]",
        "{",
        ", ",
        ": ",
        "- ",
        "\n",
        "  ",
        "\t",
        "&a ",
        "*a",
        "!!str ",
        "!<tag:x> ",
        "%YAML 1.1\n",
        "---\n",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "#",
        "? ",
        "<<: ",
        "0x1f",
        "1e999",
        "~",
    ])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_a_template_or_has_problems_with_lines(text in template_text()) {
        if let Err(TemplateError::Invalid { problems, .. }) = read_with(&text, &[]) {
            let lines = text.lines().count() + 1;
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line <= lines), "{:?}", problems);
        }
        let _ = yaml::parse(&text, &Problems::default());
    }

    /// The rest of the template is right, so each value reaches the intrinsics.
    #[test]
    fn any_value_of_a_property_is_computed_or_has_a_problem(value in words(&[
        "!Sub ", "!Ref ", "!GetAtt ", "!If ", "!Join ", "!Select ", "!Split ", "!FindInMap ", "!Nope ", "F", "F.Arn",
        "AWS::NoValue", "AWS::Region", "${", "${!", "${F.Arn}", "}", "[", "]", "{", ", ", ".", "a: ", "7", "-1", "'",
    ])) {
        let value = value.replace(['\n', '\r'], " ");
        let function = function("F", &format!("Environment: {{Variables: {{VALUE: {value}}}}}"));
        let _ = read_with(&with_resources(&function), &[]);
    }

    #[test]
    fn sub_gives_back_text_that_names_nothing(text in "[a-z }{!$]{0,20}") {
        prop_assume!(!text.contains("${"));
        let resources = function("F", &format!("Environment: {{Variables: {{VALUE: !Sub '{text}'}}}}"));
        match read_with(&with_resources(&resources), &[]) {
            Ok(template) => prop_assert_eq!(&template.functions[0].environment["VALUE"], &text),
            Err(error) => prop_assert!(text.is_empty(), "{}", error),
        }
    }

    #[test]
    fn any_parameter_is_taken_or_refused(value in any::<String>(), pattern in words(&[
        "(", ")", "[", "]", "{", "}", "1", "1000", ",", "*", "+", "?", "|", "a", "\\d", "\\", "^", "$", "-", ".", "(?:",
    ])) {
        let _ = pattern::matches(&pattern, &value);
        let parameters = "Parameters:\n  P: {Type: String, Default: a, AllowedValues: [a, b]}\n";
        let source = format!("{parameters}{}", with_resources(&function("F", "Timeout: 3")));
        prop_assert_eq!(read_with(&source, &[("P", &value)]).is_ok(), value == "a" || value == "b");
        let _ = (locals(), overrides(&[]));
    }

    #[test]
    fn a_route_key_is_read_as_it_is_written(method in "[a-zA-Z]{1,7}", path in words(&[
        "/", "//", "a", "{", "}", "{id}", "{id+}", "+", "?", "#", "%2F", "{a b}", "é",
    ])) {
        if let Ok(key) = RouteKey::parse(&method, &path) {
            let written = key.to_string();
            let (method, path) = written.split_once(' ').expect("a method and a path");
            prop_assert_eq!(RouteKey::parse(method, path), Ok(key));
        }
    }
}
