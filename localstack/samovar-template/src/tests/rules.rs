//! Rules: conditions on several parameters together.

use super::*;

const TEMPLATE: &str = r#"Parameters:
  Kind: {Type: String, Default: own, AllowedValues: [own, rented, borrowed]}
  From: {Type: String, Default: ""}
Rules:
  OthersComeFromSomewhere:
    RuleCondition: !Contains [[rented, borrowed], !Ref Kind]
    Assertions:
      - Assert: !Not [!Equals [!Ref From, ""]]
        AssertDescription: A thing that is rented or borrowed has an owner. Set From
      - Assert: {Fn::Or: [{Fn::Equals: [{Ref: Kind}, rented]}, {Fn::Equals: [{Ref: From}, a friend]}]}
Resources: {}
"#;

#[test]
fn a_broken_rule_is_an_error_in_the_words_of_its_assertion() {
    for fits in [&[][..], &[("Kind", "rented"), ("From", "a shop")], &[("Kind", "borrowed"), ("From", "a friend")]] {
        read_with(TEMPLATE, fits).unwrap_or_else(|error| panic!("{fits:?}: {error}"));
    }
    let unset = "infra/t.yaml:8: A thing that is rented or borrowed has an owner. Set From";
    let unnamed = "infra/t.yaml:10: The parameters break the rule OthersComeFromSomewhere";
    assert_eq!(error_with(TEMPLATE, &[("Kind", "rented")]), unset);
    assert_eq!(error_with(TEMPLATE, &[("Kind", "borrowed"), ("From", "a shop")]), unnamed);
    assert_eq!(error_with(TEMPLATE, &[("Kind", "borrowed")]), format!("{unset}\n{unnamed}"), "all that is broken");
}

#[test]
fn a_rule_without_a_condition_always_applies() {
    let source = "Rules:\n  R: {Assertions: [{Assert: !Equals [!Ref AWS::Region, mars]}]}\nResources: {}";
    assert_eq!(error(source), "infra/t.yaml:2: The parameters break the rule R");
}

#[test]
fn a_rule_that_is_not_understood_is_an_error_although_it_does_not_apply() {
    let source = r#"Parameters: {P: {Type: String, Default: a}}
Conditions: {Same: !Equals [a, a]}
Rules:
  A: {RuleCondition: !Equals [a, b]}
  B: {RuleCondition: !Equals [a, b], Assertions: [{Assert: !Equals [!Ref Nope, a]}]}
  C: {Assertions: [{Assert: !Condition Same}]}
  D: {Assertions: [{Assert: !Equals [!Sub "${P}", a]}]}
  E: {Assertions: [{Assert: true}]}
  F: {Assertions: [{Assert: !Contains [a, b]}]}
  G: {Assertions: {Assert: !Equals [a, a]}}
  H: {Assertions: [{Assert: !Equals [a, a], Because: x}]}
Resources: {}"#;
    assert_problems(
        source,
        &[
            (4, "A rule needs the property \"Assertions\""),
            (5, "A condition or a rule can refer only to parameters, not to \"Nope\""),
            (6, "!Condition cannot be used in a rule"),
            (7, "!Sub cannot be used in a rule; use !Ref of a parameter"),
            (8, "The expression of a rule must be one of !Equals, !Contains, !Not, !And and !Or, but is a boolean"),
            (9, "The list in !Contains must be a list, but is text"),
            (10, "G.Assertions must be a list, but is a map"),
            (11, "An assertion does not have the property \"Because\""),
        ],
    );
}

#[test]
fn what_follows_from_a_wrong_value_is_shown_by_the_check_alone() {
    let queue = "Resources: {Q: {Type: AWS::SQS::Queue, Properties: {Foo: !Ref From}}}";
    let source = TEMPLATE.replace("Resources: {}", queue);
    let broken = "infra/t.yaml:8: A thing that is rented or borrowed has an owner. Set From";
    assert_eq!(error_with(&source, &[("Kind", "rented")]), broken);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.yaml");
    std::fs::write(&path, source).expect("a file");
    let message = "infra/t.yaml:2: Parameter Kind cannot be \"stolen\", given for this run";
    let shown = error_with(&std::fs::read_to_string(&path).expect("the file"), &[("Kind", "stolen")]);
    assert!(shown.starts_with(message) && shown.lines().count() == 1, "{shown}");
    let found = crate::check(&path, &overrides(&[("Kind", "rented")]), &locals()).expect("a readable file");
    assert_eq!(found.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [8, 11]);
}
