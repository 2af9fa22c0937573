//! The examples of EventBridge's user guide, the errors, and properties.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn matches(pattern: Value, event: &Value) -> bool {
    Pattern::of(&pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(event)
}

/// Each comparison with values that it matches and others, from the page on comparison operators.
#[test]
fn each_comparison_matches_what_the_user_guide_says() {
    for (comparisons, matching, others) in [
        (json!([""]), json!([""]), json!(["x", null])),
        (json!([null]), json!([null]), json!(["", "null", 0, false])),
        (json!(["Alice"]), json!(["Alice", ["Bob", "Alice"]]), json!(["alice", "", 1, {"Alice": 1}])),
        (json!([{"equals-ignore-case": "alice"}]), json!(["alice", "Alice", "ALICE"]), json!(["alic", 1])),
        (json!([{"prefix": "us-"}]), json!(["us-east-1", "us-"]), json!(["eu-us-", "US-east-1", 1])),
        (json!([{"prefix": {"equals-ignore-case": "EventB"}}]), json!(["eventbridge", "EVENTB"]), json!(["event"])),
        (json!([{"suffix": ".png"}]), json!(["a.png"]), json!(["a.PNG", "png"])),
        (json!([{"suffix": {"equals-ignore-case": "tbridge"}}]), json!(["eventTBRIDGE"]), json!(["bridge"])),
        (json!([{"anything-but": "initializing"}]), json!(["running", 5, null, true]), json!(["initializing"])),
        (json!([{"anything-but": 123}]), json!([122, "123"]), json!([123, 123.0])),
        (json!([{"anything-but": ["stopped", "overloaded"]}]), json!(["running"]), json!(["stopped", "overloaded"])),
        (json!([{"anything-but": [100, 200, 300]}]), json!([101]), json!([100, 200, 300])),
        (json!([{"anything-but": {"prefix": "us-"}}]), json!(["eu-west-1"]), json!(["us-east-1"])),
        (json!([{"anything-but": {"prefix": ["a", "b"]}}]), json!(["c"]), json!(["ab", "ba"])),
        (json!([{"anything-but": {"suffix": ".png"}}]), json!(["a.jpg"]), json!(["a.png"])),
        (json!([{"anything-but": {"suffix": [".png", ".jpg"]}}]), json!(["a.gif"]), json!(["a.png", "a.jpg"])),
        (
            json!([{"anything-but": {"equals-ignore-case": ["initializing", "stopped"]}}]),
            json!(["running"]),
            json!(["INITIALIZING", "Stopped"]),
        ),
        (json!([{"anything-but": {"wildcard": "*/lib/*"}}]), json!(["/usr/bin/a"]), json!(["/usr/lib/a"])),
        (
            json!([{"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}]),
            json!(["/usr/share/a"]),
            json!(["/usr/lib/a", "/usr/bin/a"]),
        ),
        (json!([{"numeric": ["=", 301.8]}]), json!([301.8]), json!([301.81, "301.8"])),
        (json!([{"numeric": [">", 0, "<=", 5]}]), json!([0.1, 5, 5.0]), json!([0, 5.1, -1, 6.0e9])),
        (json!([{"numeric": ["<", 10]}]), json!([-5, 9.99]), json!([10, "9", -6.0e9])),
        (json!([300]), json!([300, 300.0, 3.0e2]), json!([301, "300"])),
        (json!([{"exists": true}]), json!(["", null, 0, false, "x"]), json!([{"x": 1}, []])),
        (json!([{"cidr": "10.0.0.0/24"}]), json!(["10.0.0.0", "10.0.0.255"]), json!(["10.0.1.0", "::1", "10.0.0", 10])),
        (json!([{"cidr": "2001:db8::/32"}]), json!(["2001:db8::1"]), json!(["2001:db9::1", "10.0.0.1"])),
        (json!([{"cidr": "0.0.0.0/0"}]), json!(["10.0.0.0"]), json!(["::1"])),
        (json!([{"cidr": "::/0"}]), json!(["::1"]), json!(["1.1.1.1"])),
        (json!([{"wildcard": "dir/*.png"}]), json!(["dir/a.png", "dir/.png"]), json!(["dir/a.pngs", "a.png"])),
        (json!([{"wildcard": "*/a*b/*"}]), json!(["x/aab/", "/ab/ab/"]), json!(["/a/b", "ab/"])),
        (json!([{"wildcard": r"a\*\\b"}]), json!([r"a*\b"]), json!([r"ax\b", r"a\*\\b"])),
        (json!([{"wildcard": "a*a"}]), json!(["aa", "aba"]), json!(["a"])),
        (json!(["Alice", {"prefix": "B"}, 7]), json!(["Alice", "Bob", 7]), json!(["Carl", 8])),
        (json!([true]), json!([true]), json!([false, "true", 1])),
    ] {
        let pattern = json!({ "detail": { "x": comparisons } });
        for (values, expected) in [(matching, true), (others, false)] {
            for value in values.as_array().unwrap() {
                let event = json!({ "detail": { "x": value } });
                assert_eq!(matches(pattern.clone(), &event), expected, "{pattern} {event}");
            }
        }
        let absent = json!({ "detail": { "y": 1 } });
        assert!(!matches(pattern.clone(), &absent), "{pattern}: a field that is absent matches nothing");
    }
}

#[test]
fn all_fields_must_match_and_one_alternative_of_or() {
    let event = json!({ "source": "aws.cloudwatch", "detail": { "name": "a", "count": 8 } });
    let or = json!({
        "source": ["aws.cloudwatch"],
        "$or": [{ "detail": { "name": ["b"] } }, { "detail": { "count": [{ "numeric": [">", 7] }] } }],
    });
    assert!(matches(or.clone(), &event));
    assert!(!matches(or.clone(), &json!({ "source": "aws.cloudwatch", "detail": { "name": "a", "count": 7 } })));
    assert!(!matches(or, &json!({ "source": "other", "detail": { "name": "b", "count": 8 } })));
    let nested = json!({ "detail": { "$or": [{ "name": ["x"] }, { "count": [8] }], "name": ["a"] } });
    assert!(matches(nested, &event));
    assert!(!matches(json!({ "source": ["aws.cloudwatch"], "detail": { "name": ["b"] } }), &event));
    assert!(matches(json!({ "$or": ["x"] }), &json!({ "$or": "x" })), "it is a field's name too");
}

#[test]
fn a_field_that_must_not_exist_is_looked_for_in_the_whole_event() {
    let pattern = json!({ "detail": { "c-count": [{ "exists": false }] } });
    assert!(matches(pattern.clone(), &json!({ "detail": {} })));
    assert!(matches(pattern.clone(), &json!({})));
    assert!(matches(pattern.clone(), &json!({ "detail": { "c-count": { "not": "a leaf" } } })));
    assert!(!matches(pattern.clone(), &json!({ "detail": { "c-count": null } })));
    assert!(!matches(pattern.clone(), &json!({ "detail": [{}, { "c-count": 1 }] })));
    assert!(matches(pattern, &json!({ "detail": [] })));
}

#[test]
fn one_element_of_a_list_of_objects_must_match_all_fields() {
    let event = json!({ "employees": [
        { "firstName": "Anna", "lastName": "Green" },
        { "firstName": "Bob", "lastName": ["Smith", "Jones"] },
    ] });
    let named = |first: &str, last: &str| json!({ "employees": { "firstName": [first], "lastName": [last] } });
    assert!(matches(named("Anna", "Green"), &event));
    assert!(matches(named("Bob", "Jones"), &event));
    assert!(!matches(named("Anna", "Smith"), &event));
}

#[test]
fn a_pattern_that_eventbridge_refuses_is_an_error_with_its_path() {
    for (pattern, expected) in [
        ("[1]", "An event pattern is an object"),
        ("{", "It is not JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", ": an empty object is not allowed"),
        (r#"{"a":{"b":{}}}"#, "a.b: an empty object is not allowed"),
        (r#"{"a":[]}"#, "a: an empty list is not allowed"),
        (r#"{"a":"x"}"#, r#"a: "x" must be in a list: ["x"]"#),
        (r#"{"a":[["x"]]}"#, "a: a list within a list is not allowed"),
        (r#"{"a":[{"prefix":1}]}"#, "a: prefix must be text"),
        (r#"{"a":[{"prefix":{"suffix":"x"}}]}"#, r#"a: prefix must be text or {"equals-ignore-case": TEXT}"#),
        (
            r#"{"a":[{"starts":"x"}]}"#,
            "a: \"starts\" is not a comparison: there are anything-but, cidr, equals-ignore-case, exists, numeric, \
             prefix, suffix and wildcard",
        ),
        (
            r#"{"a":[{"prefix":"x","suffix":"y"}]}"#,
            "a: {\"prefix\":\"x\",\"suffix\":\"y\"} must have one field: one of anything-but, cidr, \
             equals-ignore-case, exists, numeric, prefix, suffix and wildcard",
        ),
        (r#"{"a":[{"exists":"yes"}]}"#, "a: exists must be true or false"),
        (r#"{"a":[{"wildcard":"a**"}]}"#, "a: \"a**\" has two * in a row: one does the same"),
        (r#"{"a":[{"wildcard":"\\a"}]}"#, r#"a: "\a" has a \ that is not before * or \"#),
        (
            r#"{"a":[{"cidr":"10.0.0.0"}]}"#,
            "a: cidr must be an address and the bits of its prefix, such as 10.0.0.0/24, not \"10.0.0.0\"",
        ),
        (
            r#"{"a":[{"cidr":"10.0.0.0/33"}]}"#,
            "a: cidr must be an address and the bits of its prefix, such as 10.0.0.0/24, not \"10.0.0.0/33\"",
        ),
        (r#"{"a":[{"numeric":["<",6e9]}]}"#, "a: a number must be between -5.0e9 and 5.0e9"),
    ] {
        assert_eq!(Pattern::parse(pattern).expect_err(pattern).to_string(), expected, "{pattern}");
    }
    for numeric in
        ["1", "[]", r#"["<"]"#, r#"["!",1]"#, r#"[">",5,"<",1]"#, r#"["<",1,">",5]"#, r#"["<",1,"<",2,"<",3]"#]
    {
        let error = Pattern::parse(&format!(r#"{{"a":[{{"numeric":{numeric}}}]}}"#)).expect_err(numeric).to_string();
        assert!(error.starts_with("a: numeric takes one comparison, such as"), "{numeric}: {error}");
    }
    for but in ["null", "[]", "[null]", r#"["a",1]"#, r#"{"prefix":[]}"#, r#"{"prefix":null}"#] {
        let error = Pattern::parse(&format!(r#"{{"a":[{{"anything-but":{but}}}]}}"#)).expect_err(but).to_string();
        assert!(error.starts_with("a: anything-but takes texts or numbers, or one of"), "{but}: {error}");
    }
}

#[test]
fn a_pattern_looks_into_a_field_if_it_has_fields_below_it() {
    let looks = |pattern: Value| Pattern::of(&pattern).unwrap().looks_into("body");
    assert!(looks(json!({ "body": { "x": [1] } })));
    assert!(looks(json!({ "$or": [{ "x": [1] }, { "body": { "x": [1] } }] })));
    assert!(!looks(json!({ "body": ["x"] })));
    assert!(!looks(json!({ "x": { "body": { "x": [1] } } })));
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Arbitrary JSON.
fn value() -> impl Strategy<Value = Value> {
    let names =
        || proptest::sample::select(vec!["a", "b", "$or", "prefix", "anything-but", "numeric", "exists", "cidr"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a*\\\\<>=]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(names().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A wildcard in the plainest way: a `*` takes each possible length.
fn plainly(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|taken| plainly(rest, &text[taken..])),
        [letter, rest @ ..] => text.first() == Some(letter) && plainly(rest, &text[1..]),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_json_is_a_pattern_or_an_error_and_a_pattern_takes_any_event(pattern in value(), event in value()) {
        if let Ok(pattern) = Pattern::of(&pattern) {
            pattern.matches(&event);
        }
    }

    #[test]
    fn an_event_matches_the_pattern_of_its_own_values(event in value()) {
        fn pattern(event: &Value) -> Option<Value> {
            match event {
                Value::Object(fields) => {
                    let fields = fields.iter().filter(|(name, _)| *name != "$or");
                    let fields: serde_json::Map<_, _> =
                        fields.filter_map(|(name, value)| Some((name.clone(), pattern(value)?))).collect();
                    (!fields.is_empty()).then_some(Value::Object(fields))
                }
                Value::Array(elements) => elements.iter().find_map(pattern),
                leaf => Some(json!([leaf])),
            }
        }
        if let Some(own @ Value::Object(_)) = pattern(&event) {
            prop_assert!(matches(own.clone(), &event), "{own}");
        }
    }

    #[test]
    fn a_wildcard_is_the_plain_one(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
        let plain = plainly(pattern.as_bytes(), text.as_bytes());
        if let Ok(parsed) = Pattern::of(&json!({ "x": [{ "wildcard": pattern }] })) {
            prop_assert_eq!(parsed.matches(&json!({ "x": text })), plain);
        } else {
            prop_assert!(pattern.contains("**"));
        }
    }

    #[test]
    fn anything_but_is_the_opposite_of_the_same_comparison(
        kind in 0usize..4, expected in "[aA]{1,3}", text in "[aA]{0,4}",
    ) {
        let kind = ["prefix", "suffix", "equals-ignore-case", "wildcard"][kind];
        let event = json!({ "x": text });
        let is = matches(json!({ "x": [{ kind: expected }] }), &event);
        prop_assert_eq!(matches(json!({ "x": [{ "anything-but": { kind: expected } }] }), &event), !is);
    }

    #[test]
    fn a_numeric_range_is_that_of_the_numbers(low in -50i32..50, high in -50i32..50, number in -60i32..60) {
        if let Ok(pattern) = Pattern::of(&json!({ "x": [{ "numeric": [">=", low, "<", high] }] })) {
            prop_assert_eq!(pattern.matches(&json!({ "x": number })), (low..high).contains(&number));
        } else {
            prop_assert!(low >= high);
        }
    }
}
