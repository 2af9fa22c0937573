//! The template and the code name the same things. A variable that a function needs is in the template, and a variable
//! in the template is needed. The same holds for tables, indexes, queues, buckets, functions and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::{Deployment, Stack, Template, preload, program, workspace};
use futures_util::StreamExt as _;
use samovar_template::{Function, Locals};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(90);

/// The number of processes at a time.
const AT_ONCE: usize = 8;

/// A worker starts without the settings of a model, so that it can tell its users what is missing. `ModelConfig` in
/// `shared` reads them, and a test beside it leaves out each.
const OF_MODELS: [&str; 7] = [
    "LLM_PROVIDER",
    "LLM_MODEL",
    "LLM_BASE_URL",
    "LLM_API_KEY_SECRET_ARN",
    "LLM_CONTEXT_TOKENS",
    "LLM_CONTEXT_MESSAGES",
    "MOCK_LATENCY_MS",
];

fn read(parameters: &[(&str, &str)]) -> samovar_template::Template {
    let locals = Locals {
        stack_name: "local".to_owned(),
        region: "us-east-1".to_owned(),
        account_id: "000000000000".to_owned(),
        sqs_url: "http://127.0.0.1:9/_aws/sqs".to_owned(),
        // Nobody listens on this port, so the authorizer is refused at once when it asks for keys beforehand.
        issuer: "http://127.0.0.1:9/issuer".to_owned(),
        allow_missing: false,
    };
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    samovar_template::load(&workspace().join("infra/template.yaml"), &parameters, &locals)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn binary_of(function: &Function) -> &str {
    function.binary.as_deref().expect("the template names the binary of each function")
}

/// The names of the variables in `Globals`, which every function gets.
fn globals() -> BTreeSet<String> {
    let deployment = Deployment::new(Template::default().text(), &[]).expect("a template");
    let globals = &deployment.document()["Globals"]["Function"]["Environment"]["Variables"];
    globals.as_object().expect("variables").keys().cloned().collect()
}

/// What a function's process does with its environment.
#[derive(Debug)]
enum Start {
    /// It asks for its first event, and has asked for these variables before.
    Ready(BTreeSet<String>),
    /// It ends, with this output.
    Ended(String),
}

/// Starts a function with exactly the variables that Lambda and the template give, except one.
async fn start(function: &Function, without: &str, library: &Path) -> Start {
    let api = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("names");
    let mut command = Command::new(program().with_file_name(binary_of(function)));
    command.env_clear();
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.as_str()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_LAMBDA_RUNTIME_API", &api.local_addr().expect("its address").to_string()),
        ("LD_PRELOAD", library.to_str().expect("UTF-8")),
        ("GETENV_LOG", log.to_str().expect("UTF-8")),
    ] {
        command.env(name, value);
    }
    command.envs(function.environment.iter().filter(|(name, _)| *name != without));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the function's program is built");
    let mut output = child.stderr.take().expect("it is piped");
    let ended = async {
        let mut text = String::new();
        output.read_to_string(&mut text).await.expect("text");
        text
    };
    let asked = async {
        let (mut stream, _) = api.accept().await.expect("a connection");
        let mut request = [0; 64];
        let bytes = stream.read(&mut request).await.expect("a request");
        let request = String::from_utf8_lossy(&request[..bytes]).into_owned();
        assert!(request.starts_with("GET /2018-06-01/runtime/invocation/next "), "{request}");
    };
    let started = async {
        tokio::select! {
            text = ended => Start::Ended(text),
            () = asked => {
                let names = std::fs::read_to_string(&log).expect("the names");
                Start::Ready(names.lines().map(str::to_owned).collect())
            }
        }
    };
    let started = timeout(PATIENCE, started).await.expect("it starts or ends");
    if matches!(started, Start::Ready(_)) {
        child.start_kill().expect("it runs");
    }
    let status = child.wait().await.expect("it has ended");
    assert!(!status.success(), "{}: {status}", function.name);
    started
}

/// Starts a function as the template configures it. Gives the variables that it asks for.
async fn asks_for(function: &Function, library: &Path) -> BTreeSet<String> {
    match start(function, "", library).await {
        Start::Ready(names) => names,
        Start::Ended(output) => panic!("{} does not start with the template's variables: {output}", function.name),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_needs_each_of_its_variables_and_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = &preload("tests/preload/getenv.c", directory.path());
    let (template, globals, named) = (read(&[]), &globals(), literals());
    let mut cases = Vec::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for function in &template.functions {
        let asked = asks_for(function, library).await;
        // Lambda, the SDK and other libraries ask for variables of their own, which our code does not name.
        let own = |name: &&String| named.contains_key(*name) && !name.starts_with("AWS_");
        for name in asked.iter().filter(own) {
            let given = function.environment.contains_key(name) || function.local_environment.contains(name);
            assert!(given, "{} asks for {name}, which the template does not give it", function.name);
        }
        used.extend(asked.iter().cloned());
        let variables = function.environment.keys().filter(|name| !OF_MODELS.contains(&name.as_str()));
        cases.extend(variables.map(|name| (function, name, asked.contains(name))));
    }
    assert!(used.contains("CHAT_TABLE") && cases.len() > 100, "{used:?}");
    for name in globals {
        assert!(used.contains(name), "no function asks for {name}, which is in Globals");
    }
    let checks = cases.into_iter().map(async |(function, name, asked)| {
        let started = start(function, name, library).await;
        let why = format!("{} without {name}: {started:?}", function.name);
        match started {
            Start::Ended(output) => {
                let expected = format!("{name} is not set; set it in the function's environment");
                assert!(asked && output.contains(&expected), "{why}");
            }
            // Each function gets the globals. One that does not ask for a variable of its own has no use for it.
            Start::Ready(_) => assert!(!asked && globals.contains(name), "it must end with an error: {why}"),
        }
    });
    futures_util::stream::iter(checks).buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_asks_for_each_of_its_models_settings_with_one_provider_or_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = preload("tests/preload/getenv.c", directory.path());
    let mut asked = BTreeSet::new();
    for provider in ["mock", "openai", "bedrock"] {
        let template = read(&[("LlmProvider", provider), ("LlmModel", "m")]);
        let worker = template.functions.iter().find(|function| function.name == "worker").expect("the worker");
        for name in OF_MODELS {
            assert!(worker.environment.contains_key(name), "the template does not give {name}");
        }
        asked.extend(asks_for(worker, &library).await);
    }
    for name in OF_MODELS.iter().chain(&["LLM_API_KEY"]) {
        assert!(asked.contains(*name), "{name} in {asked:?}");
    }
}

/// The sources of functions and of their library, without their tests.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![workspace().join("shared/src"), workspace().join("functions")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
            if ["tests", "testing", "hostile", "layers"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                // The tests of a file are at its end.
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                sources.insert(path, text);
            }
        }
    }
    assert!(sources.len() > 50, "{}", sources.len());
    sources
}

/// The text literals of all sources, each with a file that has it.
fn literals() -> BTreeMap<String, PathBuf> {
    let mut literals = BTreeMap::new();
    for (path, text) in sources() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for literal in line.split('"').skip(1).step_by(2) {
                literals.insert(literal.to_owned(), path.clone());
            }
        }
    }
    literals
}

fn is_variable(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A process asks for some variables only when it needs them. The code names each of them in a literal, and nothing but
/// `config::environment` may read the environment (clippy.toml).
#[test]
fn each_variable_in_the_code_is_in_the_template_and_each_in_the_template_is_in_the_code() {
    let template = read(&[]);
    let given: BTreeSet<&str> =
        template.functions.iter().flat_map(|function| function.environment.keys().map(String::as_str)).collect();
    let local: BTreeSet<&str> =
        template.functions.iter().flat_map(|function| function.local_environment.iter().map(String::as_str)).collect();
    let literals = literals();
    let named: BTreeSet<&str> = literals.keys().map(String::as_str).filter(|literal| is_variable(literal)).collect();
    for name in &named {
        // Lambda gives these.
        let lambdas = ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"].contains(name);
        let known = given.contains(name) || local.contains(name) || lambdas;
        assert!(known, "{name} in {} is not in the template", literals[*name].display());
    }
    for name in given.union(&local) {
        assert!(named.contains(name), "no code names {name}, which the template gives");
    }
}

#[test]
fn each_table_queue_and_bucket_is_given_to_a_function_and_each_index_is_queried() {
    let template = read(&[]);
    let values: BTreeSet<&str> =
        template.functions.iter().flat_map(|function| function.environment.values().map(String::as_str)).collect();
    for table in &template.tables {
        assert!(values.contains(table.name.as_str()), "no function gets the name of {}", table.logical_id);
    }
    let sources: BTreeSet<&str> = template
        .functions
        .iter()
        .flat_map(|function| function.event_sources.iter().map(|source| source.queue.as_str()))
        .collect();
    for queue in &template.queues {
        assert!(sources.contains(queue.name.as_str()), "no function takes messages from {}", queue.name);
        // Only SQS itself sends to a dead-letter queue.
        let is_for_dead = template.queues.iter().any(|other| {
            other.attributes.get("RedrivePolicy").is_some_and(|policy| policy.contains(&format!("{}\"", queue.arn)))
        });
        assert_eq!(values.contains(queue.url.as_str()), !is_for_dead, "{}", queue.name);
    }
    for bucket in template.buckets.iter().filter(|bucket| bucket.logical_id != "SiteBucket") {
        assert!(values.contains(bucket.name.as_str()), "no function gets the name of {}", bucket.logical_id);
    }

    let deployment = Deployment::new(Template::default().text(), &[]).expect("a template");
    let resources = deployment.resources().expect("it can be deployed");
    let indexes: BTreeSet<&str> = resources
        .values()
        .flat_map(|resource| {
            ["LocalSecondaryIndexes", "GlobalSecondaryIndexes"].map(|kind| &resource["Properties"][kind])
        })
        .flat_map(|indexes| indexes.as_array().into_iter().flatten())
        .map(|index| index["IndexName"].as_str().expect("a name"))
        .collect();
    let mut queried = BTreeSet::new();
    for text in self::sources().into_values() {
        for (_, after) in text.match_indices(".index_name(").map(|(at, call)| text.split_at(at + call.len())) {
            let constant = after.split(')').next().unwrap_or_default();
            let (_, value) = text.split_once(&format!("const {constant}: &str = \"")).expect("a constant beside it");
            queried.insert(value.split('"').next().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(queried, indexes.into_iter().map(str::to_owned).collect(), "indexes that are queried and that exist");

    // The attribute with which DynamoDB deletes an item.
    let literals = literals();
    for table in &template.tables {
        if let Some(attribute) = &table.ttl_attribute {
            assert!(literals.contains_key(attribute), "no code writes {attribute} of {}", table.logical_id);
        }
    }
}

#[test]
fn each_program_is_a_function_of_the_template_that_something_invokes() {
    let folders = std::fs::read_dir(workspace().join("functions")).expect("a folder");
    let programs: BTreeSet<String> =
        folders.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let template = read(&[]);
    let binaries: BTreeSet<String> = template.functions.iter().map(|function| binary_of(function).to_owned()).collect();
    assert_eq!(binaries, programs);
    let mut invoked: BTreeSet<&str> = BTreeSet::new();
    for api in &template.websocket_apis {
        invoked.extend(api.authorizer.iter().map(|authorizer| authorizer.function.as_str()));
        invoked.extend(api.routes.values().filter_map(|route| route.function()));
    }
    invoked.extend(template.http_apis.iter().flat_map(|api| api.routes.iter().map(|route| route.function.as_str())));
    for function in &template.functions {
        let has_source = !function.event_sources.is_empty() || !function.schedules.is_empty();
        assert!(has_source || invoked.contains(function.name.as_str()), "nothing invokes {}", function.name);
    }
}

/// The actions of `docs/protocol.md`, which is the contract.
fn actions() -> BTreeSet<String> {
    let page = std::fs::read_to_string(workspace().join("docs/protocol.md")).expect("the page");
    let actions = page.split("\"action\":\"").skip(1).filter_map(|after| Some(after.split_once('"')?.0.to_owned()));
    actions.collect()
}

#[test]
fn each_action_of_the_contract_has_a_route_and_each_route_is_in_the_contract() {
    let template = read(&[]);
    let routes = template.websocket_apis.iter().flat_map(|api| api.routes.keys());
    let (of_connections, of_frames): (BTreeSet<&str>, BTreeSet<&str>) =
        routes.map(String::as_str).partition(|key| key.starts_with('$'));
    assert_eq!(of_connections, BTreeSet::from(["$connect", "$default", "$disconnect"]));
    assert_eq!(of_frames, actions().iter().map(String::as_str).collect());
}

#[tokio::test]
async fn each_call_of_the_rest_api_has_a_route_and_each_route_has_something_that_answers() {
    let stack = Stack::quick().await;
    let document: Value = stack.get("/openapi.json").await.json().await.expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 8, "{paths:?}");
    let rest = stack.admin().await;
    for (path, calls) in paths {
        for method in calls.as_object().expect("calls").keys().filter(|method| *method != "parameters") {
            let path = path.replace(['{', '}'], "-");
            let method = method.to_uppercase().parse().expect("a method");
            let answer = rest.send(rest.request(method, &path)).await;
            // The function's own answer, whatever it is, is JSON with more than the API's own `Not Found` or nothing.
            let unrouted = answer.status == 404 && answer.body["title"].is_null() || answer.status == 403;
            assert!(!unrouted, "{path}: {} {}", answer.status, answer.body);
        }
    }
    for (path, status) in [("/docs", 200), ("/docs/swagger-ui.css", 200), ("/openapi.json", 200), ("/docs/none", 404)] {
        assert_eq!(stack.get(path).await.status().as_u16(), status, "{path}");
    }
    let preflight = rest.request(http::Method::OPTIONS, "/api/me").header("origin", "https://a.example");
    let answer = rest.send(preflight.header("access-control-request-method", "GET")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "*"));
}
