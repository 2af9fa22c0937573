//! YAML, parameters, conditions, functions, globals.

use insta::assert_snapshot;

use super::*;

#[test]
fn parameters_are_checked_as_at_deployment() {
    let template = |declaration: &str| format!("Parameters:\n  P: {{{declaration}}}\nResources: {{}}");
    for (declaration, given, message) in [
        ("Type: Number, MinValue: 1", "0", "the smallest value is 1"),
        ("Type: Number, MaxValue: 10", "11", "the largest value is 10"),
        ("Type: Number", "many", "it must be a number"),
        ("Type: String, MinLength: 2", "a", "the smallest length is 2"),
        (
            "Type: String, AllowedValues: [mock, real]",
            "reel",
            "\"reel\" is not an allowed value: did you mean \"real\"?",
        ),
        ("Type: String, AllowedPattern: \"[a-z]+\"", "aB", "it must match [a-z]+"),
        ("Type: CommaDelimitedList, AllowedValues: [a, b]", "a,c", "\"c\" is not an allowed value"),
        ("Type: String, AllowedPattern: a, ConstraintDescription: Only a", "b", "it must match a (Only a)"),
    ] {
        let error = error_with(&template(declaration), &[("P", given)]);
        let begin = format!("infra/t.yaml:2: Parameter P cannot be \"{given}\", given for this run: {message}");
        assert!(error.starts_with(&begin), "{error}");
    }
    assert_problems(
        &template("Type: Number, Default: 0, MinValue: 1"),
        &[(2, "Parameter P cannot be \"0\", its default:")],
    );
    assert_problems(&template("Type: String"), &[(2, "Parameter P has no default: give it a value")]);
    assert_problems(
        &template("Type: AWS::SSM::Parameter"),
        &[
            (2, "A parameter.Type cannot be \"AWS::SSM::Parameter\""),
            (2, "Parameter P has no default: give it a value"),
        ],
    );
}

#[test]
fn an_override_of_an_unknown_parameter_is_an_error_with_a_suggestion() {
    let source =
        "Parameters:\n  MaxClients: {Type: Number, Default: 1}\n  Other: {Type: String, Default: a}\nResources: {}";
    let error = error_with(source, &[("MaxClient", "1")]);
    let message = "There is no parameter \"MaxClient\": did you mean \"MaxClients\"?";
    assert_eq!(error, format!("infra/t.yaml:2: {message}"));
}

#[test]
fn functions_give_their_values_in_short_and_long_form() {
    let head = r#"Parameters: {Letters: {Type: CommaDelimitedList, Default: 'a, b'}, Name: {Type: String, Default: x}}
Mappings: {Sizes: {eu-central-1: {Small: 3}}}
Conditions:
  Same: !Equals [!Ref Name, x]
  Other: !Not [!Condition Same]
  Both: !And [Condition: Same, !Condition Other]
  Any: !Or [Condition: Same, Condition: Other]
"#;
    for (expression, expected) in [
        ("!Ref Name", "x"),
        ("{Ref: Name}", "x"),
        ("!Sub '${Name}-${AWS::Region}-${!Kept}-$x'", "x-eu-central-1-${Kept}-$x"),
        ("{Fn::Sub: ['${Name}${Own}', {Own: !Ref AWS::AccountId}]}", "x000000000000"),
        ("!Join ['+', !Ref Letters]", "a+b"),
        ("!Select [1, !Split ['/', 'p/q']]", "q"),
        ("{Fn::Select: ['0', {Ref: Letters}]}", "a"),
        ("!If [Same, 1, 2]", "1"),
        ("{Fn::If: [Both, 1, 2]}", "2"),
        ("!If [Any, !If [Other, 1, 2], 3]", "2"),
        ("!FindInMap [Sizes, !Ref AWS::Region, Small]", "3"),
        ("!GetAtt F.Arn", "arn:aws:lambda:eu-central-1:000000000000:function:local-F"),
        ("{Fn::GetAtt: [F, Arn]}", "arn:aws:lambda:eu-central-1:000000000000:function:local-F"),
        ("!Sub '${F.Arn}'", "arn:aws:lambda:eu-central-1:000000000000:function:local-F"),
    ] {
        assert_eq!(environment(head, &format!("VALUE: {expression}"))["VALUE"], expected, "{expression}");
    }
    assert!(environment(head, "VALUE: !If [Other, a, !Ref AWS::NoValue]").is_empty(), "AWS::NoValue leaves it out");
    assert_eq!(environment(head, "LIST: !Join [',', [a, !Ref AWS::NoValue, b]]")["LIST"], "a,b");
}

#[test]
fn an_unknown_name_is_an_error_even_in_a_branch_that_is_not_taken() {
    let source = r#"Conditions:
  Same: !Equals [a, a]
Outputs:
  A: {Value: !If [Same, a, !Ref Nope]}
  B: {Value: !If [Never, a, b]}
  C: {Value: !Sub '${Quee.Arn}'}
Resources:
  Queue: {Type: AWS::SQS::Queue}"#;
    assert_snapshot!(error(source), @r#"
    infra/t.yaml:4: There is no parameter or resource "Nope" (nearest: Queue, AWS::NoValue, AWS::Region)
    infra/t.yaml:5: There is no condition "Never" (known: Same)
    infra/t.yaml:6: There is no parameter or resource "Quee": did you mean "Queue"?
    "#);
}

#[test]
fn a_wrong_or_unknown_function_is_an_error_with_its_line() {
    let source = r#"Outputs:
  A: {Value: !GetAZz eu}
  B: {Value: !Select [2, [a, b]]}
  C: {Value: !GetAtt Queue.Url}
  D: {Value: !Equals [a, b]}
  E: {Value: !Join [a]}
  F: {Value: !Sub '${a'}
  G: {Value: [a]}
  H: {Value: !Ref AWS::NoValue}
  I: {Value: !GetAtt Queue}
Resources:
  Queue: {Type: AWS::SQS::Queue}"#;
    assert_snapshot!(error(source), @r#"
    infra/t.yaml:2: !GetAZz is not understood: did you mean "GetAZs" or "GetAtt"?
    infra/t.yaml:3: !Select has no item 2 in a list of 2
    infra/t.yaml:4: AWS::SQS::Queue does not have the attribute "Url" (known: Arn, QueueName, QueueUrl)
    infra/t.yaml:5: !Equals can be used only under Conditions: name it there and use !If here
    infra/t.yaml:6: !Join takes [separator, list]
    infra/t.yaml:7: !Sub has a ${ without its }: "${a"
    infra/t.yaml:8: The output G must be text, but is a list
    infra/t.yaml:9: The output H cannot be AWS::NoValue
    infra/t.yaml:10: !GetAtt takes Name.Attribute or [Name, Attribute]
    "#);
}

#[test]
fn a_condition_refers_only_to_parameters_and_never_to_itself() {
    let source = r#"Conditions:
  A: !Not [!Condition B]
  B: !Not [!Condition A]
  C: !Equals [!Ref Queue, a]
  D: yep
  E: !Not [!Condition Zebra]
Resources:
  Queue: {Type: AWS::SQS::Queue}"#;
    assert_snapshot!(error(source), @r#"
    infra/t.yaml:2: Condition B depends on itself
    infra/t.yaml:3: Condition A depends on itself
    infra/t.yaml:4: A condition or a rule can refer only to parameters, not to "Queue" (nearest: AWS::NoValue, AWS::Region, AWS::StackId)
    infra/t.yaml:5: A condition must be one of !Equals, !Not, !And, !Or and !Condition, but is text
    infra/t.yaml:6: There is no condition "Zebra" (known: A, B, C, D, E)
    "#);
}

#[test]
fn a_resource_with_a_false_condition_is_left_out_and_a_reference_to_it_is_an_error() {
    let source = |outputs| {
        format!(
            r#"Conditions:
  Other: !Equals [a, b]
Resources:
  Queue: {{Type: AWS::SQS::Queue, Condition: Other}}
Outputs:
{outputs}"#
        )
    };
    let template =
        read(&source("  A: {Condition: Other, Value: !Ref Queue}\n  B: {Value: !If [Other, !Ref Queue, none]}"));
    assert!(template.queues.is_empty());
    assert_eq!(template.outputs, overrides(&[("B", "none")]));
    let message = "\"Queue\" does not exist here, because its condition Other is false";
    assert_problems(&source("  A: {Value: !Ref Queue}"), &[(6, message)]);
}

#[test]
fn globals_are_merged_as_sam_merges_them() {
    let source = r#"Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    CodeUri: code
    Handler: bootstrap
    Runtime: provided.al2023
    Timeout: 10
    MemorySize: 512
    Environment: {Variables: {AA: global, BB: global}}
Resources:
  F:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: f}}
    Properties:
      Timeout: 20
      Environment: {Variables: {BB: own, CC: own}}
  G:
    Type: AWS::Serverless::Function
    IgnoreGlobals: [Timeout, Environment]
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: g}}
"#;
    let functions = read(source).functions;
    assert_eq!(functions[0].timeout, Duration::from_secs(20));
    assert_eq!(functions[0].memory_mb, 512);
    assert_eq!(functions[0].code_dir, Path::new("infra/code"));
    assert_eq!(functions[0].environment, overrides(&[("AA", "global"), ("BB", "own"), ("CC", "own")]));
    assert_eq!(functions[1].timeout, Duration::from_secs(3), "SAM's default");
    assert_eq!(functions[1].memory_mb, 512);
    assert!(functions[1].environment.is_empty());

    let source = "Globals:\n  Function:\n    Policies: []\n    Timeuot: 3\n  Apis: {}\nResources: {}";
    assert_snapshot!(error(source), @r#"
    infra/t.yaml:3: Globals.Function cannot have "Policies" (nearest: Layers, RolePath, Tracing)
    infra/t.yaml:4: Globals.Function cannot have "Timeuot": did you mean "Timeout"?
    infra/t.yaml:5: Globals.Apis is not understood: did you mean "Api"?
    "#);
}

#[test]
fn yaml_that_cloudformation_reads_differently_is_an_error() {
    for (value, message) in [
        ("*a", "YAML aliases (*name) are not allowed"),
        ("yes", "yes can be read as a boolean or as text"),
        ("007", "007 can be read as"),
        ("1.10", "1.10 can be read as the number 1.1 or as text"),
        ("1_000", "1_000 can be read as a number or as text"),
        ("1:30", "1:30 can be read as a number or as text"),
        ("", "Null values are not allowed in templates"),
        ("!!str 1", "YAML type tags (!!name) are not allowed"),
        ("{<<: {a: b}}", "YAML merge keys (<<) are not allowed"),
        ("{true: b}", "A key must be text: quote it"),
    ] {
        assert_problems(&format!("Metadata:\n  A: &a text\n  B: {value}\nResources: {{}}"), &[(3, message)]);
    }
    let source = "V1: 'yes', V2: \"007\", V3: '1.10', V4: 2012-10-17, V5: true, V6: 12, V7: 1.5, V8: !Sub yes";
    let read = [("V1", "yes"), ("V2", "007"), ("V3", "1.10"), ("V4", "2012-10-17"), ("V5", "true"), ("V6", "12")];
    let read = overrides(&[read.as_slice(), &[("V7", "1.5"), ("V8", "yes")]].concat());
    assert_eq!(environment("", source), read);
}

#[test]
fn a_broken_document_is_an_error_with_its_line() {
    assert_problems("A: b\nResources: [", &[(3, "Not valid YAML: ")]);
    assert_problems("", &[(1, "A template must be one YAML document, but this file has 0")]);
    assert_problems("Resources: {}\n---\na: b", &[(1, "A template must be one YAML document, but this file has 2")]);
    assert_problems("[a]", &[(1, "A template must be a map, but is a list")]);
    assert_problems(
        "Hooks: {a: b}\nResources: []",
        &[(1, "A template does not have the property \"Hooks\""), (2, "Resources must be a map")],
    );
    let no_transform = "Resources:\n  F: {Type: AWS::Serverless::HttpApi}";
    assert_problems(no_transform, &[(2, "F is a type of SAM: add Transform: AWS::Serverless-2016-10-31")]);
}

#[test]
fn json_templates_are_read_too() {
    let source = "{\n\t\"Parameters\": {\"P\": {\"Type\": \"String\", \"Default\": \"a/\\u00e9\"}},\n\t\
                  \"Resources\": {\"Q\":{\"Type\":\"AWS::SQS::Queue\"}},\n\t\
                  \"Outputs\": {\"O\": {\"Value\": {\"Fn::Join\": [\"-\", [{\"Ref\": \"P\"}, {\"Fn::GetAtt\": [\"Q\", \
                  \"QueueName\"]}]]}}}\n}";
    assert_eq!(read(source).outputs, overrides(&[("O", "a/é-local-Q")]));
}

#[test]
fn comments_and_line_ends_of_windows_do_not_change_values() {
    let source = r#"Resources:
  Q:
    Type: AWS::SQS::Queue # jobs
    Properties:
      DelaySeconds: 5 # seconds
      FifoQueue: false# not a comment
"#;
    let message = "AWS::SQS::Queue.FifoQueue must be true or false, but is \"false# not a comment\"";
    assert_problems(source, &[(6, message)]);
    let source = source.replace("false# not", "false # now").replace('\n', "\r\n");
    assert_eq!(read(&source).queues[0].attributes, overrides(&[("DelaySeconds", "5")]));
}

#[test]
fn a_template_becomes_json_with_functions_in_their_long_form_and_nothing_computed() {
    let source =
        "A: !Sub [\"${x}\", { x: !GetAtt Q.Arn }]\nB: [!Ref P, 1, true, 1.5]\nC: !If [Is, {}, !Condition Other]";
    let expected = serde_json::json!({
        "A": { "Fn::Sub": ["${x}", { "x": { "Fn::GetAtt": "Q.Arn" } }] },
        "B": [{ "Ref": "P" }, 1, true, 1.5],
        "C": { "Fn::If": ["Is", {}, { "Condition": "Other" }] },
    });
    assert_eq!(to_json(source, Path::new("t.yaml")).expect("YAML"), expected);
    let error = to_json("A: [", Path::new("t.yaml")).expect_err("no YAML").to_string();
    assert!(error.starts_with("t.yaml:"), "{error}");
}

#[test]
fn a_key_that_comes_twice_is_told_with_both_lines() {
    let queue = |properties: &str| {
        format!("Resources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties:\n{properties}      Tags: [{{Key: a}}]\n")
    };
    let twice = "The key \"Tags\" comes twice in one map, first in line 5";
    let source = queue("      Tags:\n      - Key: \"a\"\n");
    let notes: Vec<_> = read(&source).notes.into_iter().map(|note| (note.line, note.message)).collect();
    assert_eq!(notes, [(7, format!("{twice}, with the same value: remove one"))]);
    // The other problems are shown too.
    let source = queue("      Tags:\n      - Key: \"b\"\n      Name: q\n");
    let expected = [(7, "AWS::SQS::Queue does not have the property \"Name\""), (8, &*format!("{twice}: remove one"))];
    assert_problems(&source, &expected);
    for (first, second) in [("1", "'1'"), ("a", "!Ref a"), ("[a]", "{a: b}"), ("[a, b]", "[[a, b]]")] {
        let source = format!("Metadata: {{A: {first}, A: {second}}}\nResources: {{}}");
        assert_problems(&source, &[(1, "The key \"A\" comes twice in one map, first in line 1: remove one")]);
    }
}
