//! What is not here: resources that are passed over, values of other stacks, and parameters that the run must give.

use super::*;
use crate::{Findings, check};

fn found(source: &str, allow_missing: bool) -> Findings {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.yaml");
    std::fs::write(&path, source).expect("a file");
    let locals = Locals { allow_missing, ..locals() };
    check(&path, &BTreeMap::new(), &locals).expect("a readable file")
}

fn texts(problems: &[crate::TemplateProblem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.line, problem.message)).collect()
}

#[test]
fn a_reference_to_something_that_is_not_here_is_an_error_or_a_placeholder() {
    let machine = "  M: {Type: AWS::StepFunctions::StateMachine}\n";
    for (value, what, placeholder) in [
        ("!Ref M", "\"M\" is AWS::StepFunctions::StateMachine, which is not run here", "missing-M"),
        ("!GetAtt M.Arn", "\"M\" is AWS::StepFunctions::StateMachine, which is not run here", "missing-M.Arn"),
        ("!ImportValue other", "\"other\" is a value of another stack", "missing-other"),
        ("!Transform {Name: a}", "!Transform is not computed here", "missing-Transform"),
        ("!Join ['', !Cidr [a, 1, 2]]", "!Cidr is not computed here", ""),
    ] {
        let source = with_resources(&format!(
            "{}{machine}",
            function("F", &format!("Environment: {{Variables: {{AT: {value}}}}}"))
        ));
        assert_problems(
            &source,
            &[(3, &format!("{what}, so it has no value (--allow-missing gives it a placeholder)"))],
        );
        if placeholder.is_empty() {
            continue;
        }
        let Findings { errors, notes, template, .. } = found(&source, true);
        assert!(errors.is_empty(), "{errors:?}");
        let note = format!("3: {what}: its value is the placeholder \"{placeholder}\"");
        assert!(texts(&notes).contains(&note), "{notes:?}");
        assert_eq!(template.expect("a template").functions[0].environment["AT"], placeholder);
    }
}

#[test]
fn a_part_of_a_placeholder_is_one_too() {
    let value = "AT: !Select [5, !Split [':', !GetAtt M.Arn]], LIST: !Select [0, !GetAtt M.All]";
    let machine = "  M: {Type: AWS::StepFunctions::StateMachine}\n";
    let source =
        with_resources(&format!("{}{machine}", function("F", &format!("Environment: {{Variables: {{{value}}}}}"))));
    let Findings { errors, template, .. } = found(&source, true);
    assert!(errors.is_empty(), "{errors:?}");
    let environment = template.expect("a template").functions[0].environment.clone();
    assert_eq!(environment, overrides(&[("AT", "missing"), ("LIST", "missing")]));
}

#[test]
fn what_sam_generates_can_be_named() {
    let properties = "AutoPublishAlias: live, Events: {E: {Type: Schedule, Properties: {Schedule: rate(1 minute)}}}";
    let alarm = "  A: {Type: AWS::CloudWatch::Alarm, Properties: {X: [!Ref FAliaslive, !Ref FE, !Ref FEPermission, \
                 !GetAtt MRole.Arn, !Ref RStage]}}\n";
    let others = "  M: {Type: AWS::Serverless::StateMachine}\n  \
                  R: {Type: AWS::Serverless::Api, Properties: {StageName: !Ref AWS::StackName}}\n";
    let source = with_resources(&format!("{}{alarm}{others}", function("F", properties)));
    read(&source);
    // Or a role of that name is the template's own.
    read(&format!("{source}  MRole: {{Type: AWS::IAM::Role, Properties: {{AssumeRolePolicyDocument: {{}}}}}}\n"));
}

#[test]
fn what_has_no_effect_here_may_refer_to_it() {
    let layer = "  L: {Type: AWS::Serverless::LayerVersion, Properties: {Anything: !Ref M}}\n";
    let statement = "{Statement: [{Effect: Allow, Action: 'states:*', Resource: !Ref M}]}";
    let own = function("F", &format!("Layers: [!Ref L], Policies: [{statement}], Tags: {{A: !Ref M}}"));
    let source = with_resources(&format!("{own}{layer}  M: {{Type: AWS::StepFunctions::StateMachine}}\n"));
    let template = read(&format!("{source}Outputs: {{A: {{Value: !Ref M}}, B: {{Value: !Ref F}}}}\n"));
    assert_eq!(template.functions[0].policies[0]["Statement"][0]["Resource"], "missing-M");
    assert_eq!(template.outputs, overrides(&[("B", "local-F")]), "an output without a value is left out");
    let expected = BTreeMap::from([("AWS::StepFunctions::StateMachine".to_owned(), vec!["M".to_owned()])]);
    assert_eq!(template.passed_over, expected, "a layer makes no difference");
    let line = "Not run here: AWS::StepFunctions::StateMachine (M)";
    assert_eq!(template.passed_over_line().as_deref(), Some(line));
    assert_eq!(template.lines["L"], 4);
    // Names are checked all the same.
    let message = "There is no parameter or resource \"N\"";
    assert_problems(&source.replace("Anything: !Ref M", "Anything: !Ref N"), &[(4, message)]);
}

#[test]
fn all_findings_are_returned_and_parameters_are_asked_for_by_name() {
    let source = "Parameters:\n  A: {Type: String}\n  B: {Type: Number, MinValue: 2}\n  \
                  C: {Type: String, AllowedValues: [x]}\n\
                  Resources:\n  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref A, \
                  DelaySeconds: !Ref B, Foo: 1}}\n  \
                  M: {Type: Custom::Thing}\n";
    let Findings { errors, needed, notes, template } = found(source, false);
    let message = "AWS::SQS::Queue does not have the property \"Foo\" (nearest: Tags, FifoQueue, QueueName)";
    assert_eq!(texts(&errors), [format!("6: {message}")]);
    let needs = |line: usize, name: &str| {
        format!("{line}: Parameter {name} has no default: give it a value, for example with --param {name}=VALUE")
    };
    assert_eq!(texts(&needed), [needs(2, "A"), needs(3, "B"), needs(4, "C")]);
    assert!(notes.is_empty() && template.is_some());
    let found = found("Resources: [", false);
    assert!(found.template.is_none() && found.errors.len() == 1);
    let error = check(Path::new("/nowhere/t.yaml"), &BTreeMap::new(), &locals()).expect_err("no file");
    assert_eq!(error.to_string(), "Cannot read the template /nowhere/t.yaml");
}

#[test]
fn values_of_parameter_store_are_given_by_the_run() {
    let stored = |of: &str| {
        let parameters = format!("Parameters:\n  P: {{Type: 'AWS::SSM::Parameter::Value<{of}>', Default: /a/b}}\n");
        let function = function("F", "Environment: {Variables: {AT: !Select [0, !Split [',', !Ref P]]}}");
        with_resources(&function).replacen("Resources:", &format!("{parameters}Resources:"), 1)
    };
    let message =
        "Parameter P is the value of /a/b in Parameter Store (--param P=VALUE gives another), so it has no value";
    assert_problems(&stored("String"), &[(5, message)]);
    let given = read_with(&stored("String"), &[("P", "x,y")]).expect("a template");
    assert_eq!(given.functions[0].environment["AT"], "x");
    let ids = stored("List<AWS::EC2::Subnet::Id>").replace("!Split [',', !Ref P]", "!Ref P");
    assert_eq!(read_with(&ids, &[("P", "x,y")]).expect("a template").functions[0].environment["AT"], "x");
    let message = "infra/t.yaml:3: A parameter.Type cannot be \"AWS::SSM::Parameter::Value<Text>\"";
    assert!(error(&stored("Text")).starts_with(message));
}

#[test]
fn types_that_nobody_has_are_errors() {
    for (name, message) in [
        ("AWS::SQS::Queues", "There is no type AWS::SQS::Queues: did you mean \"AWS::SQS::Queue\"?"),
        ("AWS::Queue", "\"AWS::Queue\" is not the name of a type"),
        ("Custom::A::B::C", "\"Custom::A::B::C\" is not the name of a type"),
        ("AWS::Serverless::Queue", "SAM does not have the type AWS::Serverless::Queue"),
    ] {
        assert_problems(&with_resources(&format!("  A: {{Type: '{name}'}}\n")), &[(3, message)]);
    }
    for name in
        ["Custom::Thing", "AWS::Kinesis::Stream", "AWS::S3Express::DirectoryBucket", "Org::Service::Thing::MODULE"]
    {
        read(&with_resources(&format!("  A: {{Type: '{name}'}}\n")));
    }
    let transform = "Transform: [AWS::Serverless-2016-10-31, AWS::Include]\nResources: {}";
    assert_problems(transform, &[(1, "A template.Transform has \"AWS::Include\", which is not run here")]);
    read("Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]\nResources: {}");
}

#[test]
fn functions_without_other_names_are_computed() {
    for (expression, expected) in [
        ("!Base64 a", "YQ=="),
        ("!Select [1, !GetAZs '']", "eu-central-1b"),
        ("!Select [0, !GetAZs us-east-1]", "us-east-1a"),
        ("!Length [a, b]", "2"),
        ("!ToJsonString {a: [1, !Ref AWS::Region]}", r#"{"a":[1,"eu-central-1"]}"#),
        (
            "!Ref AWS::StackId",
            "arn:aws:cloudformation:eu-central-1:000000000000:stack/local/00000000-0000-0000-0000-000000000000",
        ),
        ("!Join [',', !Ref AWS::NotificationARNs]", ""),
    ] {
        assert_eq!(environment("", &format!("VALUE: {expression}"))["VALUE"], expected, "{expression}");
    }
}
