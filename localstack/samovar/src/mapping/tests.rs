//! Templates as they are written for API Gateway, and templates and bodies that mean harm.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::hostile::{config, words};

fn scope(body: &str) -> Scope {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Scope {
        body: body.to_owned(),
        params: Params {
            path: BTreeMap::new(),
            querystring: map(&[("foo", "bar"), ("x", "1")]),
            header: map(&[("Host", "a.example"), ("X-User", "ada")]),
        },
        context: json!({
            "connectionId": "abc=", "requestTimeEpoch": 1_652_722_217_711_i64, "authorizer": { "principalId": "me" },
        }),
        stage_variables: map(&[("name", "beta")]),
    }
}

const BODY: &str = r#"{"a":{"b":[1,2.5,"x"]},"text":"it's \"quoted\"","items":[{"n":1},{"n":2}],"none":null,"t":true}"#;

fn rendered(template: &str) -> String {
    render(template, &scope(BODY)).unwrap_or_else(|problem| panic!("{template}: {problem}"))
}

#[track_caller]
fn assert_all(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(rendered(template), *expected, "{template}");
    }
}

#[test]
fn references_are_replaced_by_their_values() {
    assert_all(&[
        ("$context.connectionId-x", ""),
        ("${context.connectionId}-x", "abc=-x"),
        ("$context.authorizer.principalId $!context.none", "me "),
        ("$context.none.deeper|$stageVariables.name|$stageVariables.none", "|beta|"),
        ("$mine ${mine} $!mine $!{mine}.", "$mine ${mine}  ."),
        ("10$ $5 $ ${ $.a $-", "10$ $5 $ ${ $.a $-"),
        ("\\$context.connectionId \\$mine \\x", "$context.connectionId \\$mine \\x"),
        ("$context.connectionId.", "abc=."),
        ("a@b #hash #1 c#", "a@b #hash #1 c#"),
    ]);
}

#[test]
fn the_input_is_a_body_and_parameters() {
    assert_all(&[
        ("$input.body", BODY),
        ("$input.json('$.a')", r#"{"b":[1,2.5,"x"]}"#),
        ("$input.json('$.text') $input.json('$.missing')", r#""it's \"quoted\"" """#),
        ("$input.path('$.a.b[1]') $input.path('$.a') $input.path('$.missing').", "2.5 {b=[1, 2.5, x]} ."),
        ("$input.path('$.items')[1].n $input.path('$').items.size()", "2 2"),
        ("$input.params('foo') $input.params('host') [$input.params('none')]", "bar a.example []"),
        // As a public sample shows what API Gateway stores.
        ("$input.params().get('querystring')", "{foo=bar, x=1}"),
        ("$input.params().header.get('X-User') $input.params().path", "ada {}"),
    ]);
    for (body, expected) in [("", "{}"), ("hello", "\"hello\""), ("[1]", "[1]")] {
        assert_eq!(render("$input.json('$')", &scope(body)).unwrap(), expected);
    }
}

#[test]
fn directives_leave_out_their_own_lines() {
    assert_all(&[
        ("#set($ttl = $context.requestTimeEpoch + 86400)\n{ \"ttl\": $ttl }", "{ \"ttl\": 1652722304111 }"),
        ("a  #set ( $x = 'b' ) \n$x", "ab"),
        ("#if($input.path('$.t'))\nyes\n#else\nno\n#end\n.", "yes\n."),
        ("#if($none)1#elseif(1 == 1)2#{else}3#end", "2"),
        ("#if(false)1#{else}3#{end}4", "34"),
        ("#foreach($i in $input.path('$.items'))$i.n#if($foreach.hasNext),#end#end", "1,2"),
        ("#foreach($i in [1..3])$foreach.index/$velocityCount/$foreach.count #end$i", "0/1/1 1/2/2 2/3/3 $i"),
        ("#foreach($i in [3..1])$i#if($i == 2)#break#end#end.", "32."),
        ("#foreach($v in {'a': 1, 'b': 2})$v#end#foreach($n in $none)x#end", "12"),
        ("a#stop b", "a"),
        ("## nothing\na#* nothing \n *#b#[[$context #if]]#", "ab$context #if"),
        ("#setting #if #foreach x \\#if(1)", "#setting #if #foreach x #if(1)"),
    ]);
}

#[test]
fn expressions_have_operators_lists_and_maps() {
    assert_all(&[
        ("#set($x = 1 + 2 * 3 - 4 / 2 % 3)$x", "5"),
        ("#set($x = (1 + 2) * -3)$x #set($y = 1.5 * 2)$y", "-93.0"),
        ("#set($x = 'a' + 1)$x#set($x = 7 / 0)$!x#set($x = $none + 1)$!x", "a1"),
        ("#if(1 < 2 && 2 >= 2 and 'a' lt 'b' || $none)y#end", "y"),
        ("#if(!$none && not false && 1 != 2 && 1 ne 2 && 1 == 1.0 && 1 eq '1')y#end", "y"),
        ("#if($none == null && $input.path('$.none') == $null)y#end", "y"),
        ("#if(1 > 'a' || 'b' gt 'c' || [1] == [2] || 3 le 2 || 1 ge 2)y#{else}n#end", "n"),
        (
            "#set($l = [1, 'b', [true, null], {\"k\": $context.connectionId}])$l $l[1] $l[3].k",
            "[1, b, [true, null], {k=abc=}] b abc=",
        ),
        ("#set($m = {})#set($m.a = 1)#set($m['b'] = [1])#set($m.b[0] = 2)$m", "{a=1, b=[2]}"),
        ("#set($s = \"$context.connectionId and ${stageVariables.name}'s \"\"x\"\"\")$s", "abc= and beta's \"x\""),
        ("#set($s = '$x ''y''')$s", "$x 'y'"),
        ("#set($dq = '\"')#set($s = \"{${dq}a${dq}: #if(true)1#end}\")$s", "{\"a\": 1}"),
    ]);
}

#[test]
fn strings_lists_and_maps_have_methods() {
    assert_all(&[
        ("$stageVariables.name.length() $stageVariables.name.toUpperCase().substring(1).substring(0, 2)", "4 ET"),
        (
            "#set($s = ' aXbXc ')$s.trim().replace('X', '-') $s.indexOf('X') $s.lastIndexOf('b') $s.charAt(1)",
            "a-b-c 2 3 a",
        ),
        (
            "#set($s = 'a1b22')$s.replaceAll('([0-9]+)', '<$1>') $s.replaceFirst('[0-9]', '\\$') $s.matches('a.*2')",
            "a<1>b<22> a$b22 true",
        ),
        (
            "#set($s = 'a,b,,')$s.split(',') $s.contains('b') $s.startsWith('a') $s.endsWith('b') $s.isEmpty()",
            "[a, b] true true false false",
        ),
        (
            "#set($s = 'é')$s.concat('x') $s.equals('é') $s.equalsIgnoreCase('É') $s.length() $s.compareTo('z')",
            "éx true true 1 1",
        ),
        (
            "#set($l = [])#set($ok = $l.add('a'))$l.add('b')$l $l.size() $l.contains('b') $l.indexOf('x') $l.get(0)",
            "true[a, b] 2 true -1 a",
        ),
        (
            "#set($l = [1, 2, 3])$l.remove(0) $l.set(0, 9) $l.addAll([4]) $l $l.subList(1, 3) $l.empty",
            "1 2 true [9, 3, 4] [3, 4] false",
        ),
        (
            "#set($m = {'b': 2})$!m.put('a', 1)$m $m.keySet() $m.values() $m.containsKey('a') $m.size()",
            "{a=1, b=2} [a, b] [1, 2] true 2",
        ),
        (
            "#set($m = {'b': 2})#foreach($e in $m.entrySet())$e.key=$e.value#end \
             $m.getOrDefault('x', 7) $m.remove('b') $m",
            "b=2 7 2 {}",
        ),
        ("#set($m = {'l': [1]})#set($x = $m.l.add(2))#set($x = $m.get('l').add(3))$m", "{l=[1, 2, 3]}"),
        ("$none.method().other|$!none.method()", "$none.method().other|"),
    ]);
}

#[test]
fn util_encodes_and_decodes() {
    assert_all(&[
        ("$util.escapeJavaScript($input.path('$.text'))", r#"it\'s \"quoted\""#),
        ("$util.escapeJavaScript('a/b\né😀')", "a\\/b\\n\\u00E9\\uD83D\\uDE00"),
        ("$util.escapeJavaScript($input.path('$.text')).replaceAll(\"\\\\'\",\"'\")", r#"it's \"quoted\""#),
        ("$util.urlEncode('a b&é*~')", "a+b%26%C3%A9*%7E"),
        ("$util.urlDecode('a+b%26')", "a b&"),
        ("$util.base64Encode('hello') $util.base64Decode('aGVsbG8=')", "aGVsbG8= hello"),
        ("$util.parseJson('{\"a\": [1]}').a[0]", "1"),
        ("[$util.urlEncode($none)]", "[]"),
    ]);
}

#[test]
fn what_is_wrong_with_a_template_is_said_with_its_line() {
    for (template, expected) in [
        ("\n#if(1 == 1)", "line 2: #if needs its #end"),
        ("a\n\n#end", "line 3: #end, #else or #elseif without"),
        ("#foreach($i in [1])", "line 1: #foreach needs its #end"),
        ("#if(1)#else", "line 1: #else needs its #end"),
        ("#set(x = 1)", "line 1: #set needs a reference"),
        ("#set($x.y() = 1)", "#set can't assign to a call"),
        ("#set($x 1)", "\"=\" is expected"),
        ("#set($x = )", "begins no expression"),
        ("#set($x = 'a)", "a string is not closed"),
        ("#set($x = \"\n\n$y.z(\")", "line 3"),
        ("#set($x = 99999999999999999999)", "a number is too large"),
        ("$a.b(1", "\",\" is expected"),
        ("#* a", "#* is not closed"),
        ("#macro(x)#end", "#macro is not run here"),
        ("$input.nothing()", "$input has no nothing"),
        ("$input[0]", "$input and $util have no items"),
        ("$util.toJson($context)", "$util has no toJson"),
        ("$util.urlEncode('a', 'b')", "$util has no urlEncode with these arguments"),
        ("$util.parseJson('{')", "$util.parseJson: "),
        ("$util.base64Decode('*')", "$util.base64Decode: "),
        ("$stageVariables.name.reverse()", "a text has no method reverse with 0 arguments"),
        ("$context.getClass()", "a map has no method getClass"),
        ("#set($x = 1)$x.add(2)", "a number has no method add"),
        ("#set($x = 'a')#set($x.b = 1)", "there is nothing to assign to in $x"),
        ("$stageVariables.name.substring(9)", "substring() goes beyond a text of 4 characters"),
        ("$stageVariables.name.matches('(')", "is no regular expression here"),
        ("#set($l = [1])$l.set(5, 1)", "set() has no such index"),
    ] {
        let problem = render(template, &scope(BODY)).expect_err(template).to_string();
        assert!(problem.contains(expected), "{template}: {problem}");
    }
}

#[test]
fn no_template_takes_more_than_bounded_time_and_space() {
    let nested = |open: &str, inner: &str, close: &str| open.repeat(5_000) + inner + &close.repeat(5_000);
    let doubling = "#set($s = 'aaaaaaaaaaaaaaaa')".to_owned() + &"#set($s = \"$s$s\")".repeat(60);
    let growing = "#set($l = [1])".to_owned() + &"#set($x = $l.addAll($l))".repeat(60);
    let deeper = "#set($l = [])".to_owned() + &"#set($l = [$l])".repeat(60);
    let within = "#set($l = [])".to_owned() + &"#set($x = $l.add($l))".repeat(60);
    let loops = "#foreach($a in [1..1000])".repeat(5) + "x" + &"#end".repeat(5);
    let replacing =
        "#set($s = 'aaaaaaaaaaaaaaaa')".to_owned() + &"#set($s = $s + $s)".repeat(15) + "$s.replaceAll('', $s)";
    let replaced = replacing.replace("replaceAll", "replace");
    for (template, expected) in [
        (nested("#if(true)", "", "#end"), "levels are within each other"),
        ("#set($x = ".to_owned() + &nested("[", "1", "]") + ")", "levels are within each other"),
        ("#set($x = ".to_owned() + &nested("(", "1", ")") + ")", "levels are within each other"),
        ("#set($x = ".to_owned() + &nested("{1:", "1", "}") + ")", "levels are within each other"),
        (nested("$a[", "1", "]"), "levels are within each other"),
        (nested("$a.b(", "1", ")"), "levels are within each other"),
        (doubling, "a text has more than"),
        (growing, "it does too much work"),
        (deeper, "levels deep"),
        (within, "it does too much work"),
        (loops, "it does too much work"),
        (replacing, "a text has more than"),
        (replaced, "a text has more than"),
        ("#set($x = [1..9999])".to_owned(), "a range has more than"),
        ("#set($x = $input.path('$.many'))#foreach($i in $x)#end".to_owned(), "a #foreach has more than"),
    ] {
        let body = json!({ "many": vec![0; 1001] }).to_string();
        let problem = render(&template, &scope(&body)).expect_err("a limit").to_string();
        assert!(problem.contains(expected), "{expected}: {problem}");
    }
    // Many of a kind beside each other do not nest.
    let many = |one: &str| one.repeat(5_000);
    assert_eq!(rendered(&format!("#set($x = 1{})$x", many(" + 1"))), "5001");
    assert_eq!(rendered(&format!("#if({}true)y#end", many("!"))), "y");
    assert_eq!(rendered(&format!("#set($x = {}1)$x", many("-"))), "1");
    assert_eq!(rendered(&format!("#if(false){}#end", many("#elseif(false)"))), "");
    assert_eq!(rendered(&format!("$!none{}", many(".a"))), "");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_template_and_any_body_end(
        template in words(&[
            "#if(", "#else", "#end", "#foreach($x in ", "#set($x = ", ")", "$x", "${x", "}", "$!", "[", "]", ".", "..",
            "$input.path('$')", "$input.json('$.a')", "$util.parseJson(", "'", "\"", "(", "1", "-", "!", "&&", ",", ":",
            "{", "\\", "#", "##", "#*", "*#", " in ", "é", "\n", ".add($x)", ".size()", ".replaceAll('', 'a')", "#stop",
        ]),
        body in words(&["{", "}", "\"a\"", ":", "[", "]", ",", "1", "null", "\\u0000", "é"]),
    ) {
        let _ = render(&template, &scope(&body)); // any result is one
    }
}
