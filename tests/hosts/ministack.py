"""Runs Parley on MiniStack, an emulator of AWS: infra/template.yaml with the real functions, without Docker.

The program starts MiniStack on a free port, deploys the template by CloudFormation, and waits until the REST API and
the WebSocket API answer. Then it prints one line of JSON on standard output:

    {"ready": true, "url": …, "websocketUrl": …, "tokenUrl": …, "endpointUrl": …, …}

`url` is the base of the REST API (`url` + "/api/conversations"). `tokenUrl` answers a POST of {"username": "alice",
"groups": ["admin"]} with {"accessToken": …}, as the local stack's /_local/token does. `endpointUrl` is MiniStack
itself, for any AWS client. A line on standard error tells each change to the template, and each setting that a call of
an API has made.

SIGTERM or SIGINT ends MiniStack, the functions and their files.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

SIGNALS = (signal.SIGTERM, signal.SIGINT)

HOST = "127.0.0.1"
REGION = "us-east-1"
STACK = "parley"
AUDIENCE = "parley-tests"
CODE_BUCKET = "parley-code"

# How long one step may take on a loaded machine, in seconds.
PATIENCE = 120
# The time between two looks at something that sends no notification, in seconds.
POLL = 0.1
# How long MiniStack may take to stop before it is killed, in seconds.
STOP_PATIENCE = 10
TOKEN_SECONDS = 3600
MAX_USERNAME_CHARS = 64
MAX_GROUP_CHARS = 128
# MiniStack sends what a function returns up to 50 ms later than the function returned it, because it waits for the
# function's log. If the model answered at once, its words could overtake the frame that accepts the message.
MOCK_LATENCY_MS = "100"
# The variables by which Lambda tells a function how to log, and the settings of LoggingConfig that are in them.
LOG_VARIABLES = {"AWS_LAMBDA_LOG_FORMAT": "LogFormat", "AWS_LAMBDA_LOG_LEVEL": "ApplicationLogLevel"}
DEMANDS_TLS = {"Bool": {"aws:SecureTransport": "false"}}
# Why a setting is made in another way.
IGNORED = "because MiniStack's CloudFormation ignores it"
# The user who tries the stack out before it is called ready.
FIRST_USER = "ready"


class Failure(Exception):
    """Something that the person at the terminal can act on."""


class Stopped(Exception):
    """A signal asks the program to end."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    options = parse(sys.argv[1:])

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        check_packages()
        run(options)
    except Stopped:
        pass
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    return 0


def stop(*_: object) -> None:
    ignore_signals()
    raise Stopped


def ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Runs Parley on MiniStack, an emulator of AWS, until SIGTERM or SIGINT. "
        "Prints one line of JSON when it is ready.",
        epilog=f"The Python packages are in {REQUIREMENTS.relative_to(REPOSITORY)}.",
    )
    parser.add_argument(
        "--functions",
        type=Path,
        default=REPOSITORY / "target/debug",
        help="the folder with the functions' binaries (default: target/debug)",
    )
    parser.add_argument(
        "--template",
        type=Path,
        default=REPOSITORY / "infra/template.yaml",
        help="the template (default: infra/template.yaml)",
    )
    parser.add_argument("--port", type=int, default=0, help="the port of MiniStack (default: a free one)")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a parameter of the template, repeatable (MockLatencyMs is {MOCK_LATENCY_MS} unless it is given)",
    )
    parser.add_argument("--log", type=Path, help="keep the log of MiniStack and the functions in this file")
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error("--port must be 0 to 65535")
    options.parameters = {}
    for setting in options.param:
        name, separator, value = setting.partition("=")
        if not name or not separator:
            parser.error(f"--param {setting}: write NAME=VALUE")
        options.parameters[name] = value
    return options


def check_packages() -> None:
    missing = []
    for package in ("ministack", "aws-sam-translator", "boto3", "cryptography"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        raise Failure(
            f"the Python at {sys.executable} has no {', '.join(missing)}: "
            f"install them with {sys.executable} -m pip install -r {REQUIREMENTS}"
        )


def run(options: argparse.Namespace) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    template = read_template(options.template)
    unknown = ", ".join(name for name in options.parameters if name not in template["Parameters"])
    if unknown:
        raise Failure(f"{options.template} has no parameter {unknown}")
    binaries = binaries_of(template, options.functions)
    issuer = Issuer()
    ministack = MiniStack(options.port, options.log)
    parameters = {
        "MockLatencyMs": MOCK_LATENCY_MS,
        "OidcIssuer": issuer.url,
        "OidcAudience": AUDIENCE,
        "MediaEndpointUrl": ministack.url,
        "Architecture": "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64",
        **options.parameters,
    }
    values = {name: str(one.get("Default", "")) for name, one in template["Parameters"].items()} | parameters
    try:
        issuer.start()
        ministack.start()
        upload(ministack, template, binaries)
        translated = translate(template, parameters)
        adapt(translated, ministack)
        ids = deploy(ministack, translated, parameters)
        set_what_is_ignored(ministack, translated, ids, values)
        ready = {
            "ready": True,
            "url": f"{ministack.url}/_aws/execute-api/{ids['HttpApi']}",
            "websocketUrl": f"ws://{HOST}:{ministack.port}/_aws/execute-api/{ids['WebSocketApi']}/ws",
            "tokenUrl": f"{issuer.url}/token",
            "endpointUrl": ministack.url,
            "region": REGION,
            "stack": STACK,
        }
        wait_for_answers(ministack, issuer, ready)
        print(json.dumps(ready), flush=True)
        # Whatever happens, MiniStack's end is the end of this program.
        status = ministack.child.wait()
        raise Failure(f"MiniStack has ended by itself with status {status}\n{ministack.end_of_log()}")
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"MiniStack: {error}") from error
    finally:
        # No signal may interrupt the tidying up.
        ignore_signals()
        ministack.stop()
        issuer.stop()


class MiniStack:
    """MiniStack as a child process, with all its files in one temporary directory."""

    def __init__(self, port: int, log: Path | None) -> None:
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.child: subprocess.Popen | None = None
        self.directory: Path | None = None
        self.log = log

    def start(self) -> None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, self.port)) == 0:
                raise Failure(f"port {self.port} is taken: give another with --port, or none for a free one")
        self.directory = Path(tempfile.mkdtemp(prefix="parley-ministack-"))
        self.log = self.log or self.directory / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MINISTACK_"))}
        environment |= {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": HOST,
            "TMPDIR": str(self.directory),
            "STATE_DIR": str(self.directory / "state"),
            "S3_DATA_DIR": str(self.directory / "s3"),
            "PERSIST_STATE": "0",
            # Its MQTT listener has a fixed port, which may be taken.
            "IOT_MTLS_ENABLED": "0",
            # Signatures are checked, and the policies of the template decide.
            "AUTH": "true",
            # Functions find the services here.
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
        }
        try:
            log = self.log.open("wb")
        except OSError as error:
            raise Failure(f"the log {self.log} can't be written: {error.strerror}") from error
        with log:
            # In a session of its own, so that the functions can be ended with it.
            self.child = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for("MiniStack to answer", lambda: fetch(f"{self.url}/_ministack/health")[0] == 200)

    def client(self, service: str):
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            # Any credentials do, but there must be some.
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=PATIENCE),
        )

    def wait_for(self, what: str, done) -> None:
        """Looks until `done` says so. `done` may fail with OSError meanwhile."""
        deadline = time.monotonic() + PATIENCE
        last: object = None
        while True:
            try:
                last = done()
                if last is True:
                    return
            except OSError as error:
                last = error
            status = self.child.poll()
            if status is not None:
                raise Failure(f"MiniStack has ended with status {status}\n{self.end_of_log()}")
            if time.monotonic() > deadline:
                raise Failure(f"waited {PATIENCE} s for {what}; last seen: {last}\n{self.end_of_log()}")
            time.sleep(POLL)

    def end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(["--- end of MiniStack's log", *lines[-40:]])

    def stop(self) -> None:
        if self.child is not None:
            if self.child.poll() is None:
                self.child.terminate()
                try:
                    self.child.wait(STOP_PATIENCE)
                except subprocess.TimeoutExpired:
                    self.child.kill()
                    self.child.wait()
            # MiniStack does not end the processes of all functions. They are in its process group.
            try:
                os.killpg(self.child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.directory is not None:
            remove(self.directory)


def remove(directory: Path) -> None:
    """Removes it, although a process that was just killed may still write into it."""
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(POLL)
    say(f"{directory} can't be removed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def fetch(url: str, token: str | None = None) -> tuple[int, bytes]:
    """The status and the body of a GET."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Issuer:
    """An OpenID issuer that gives a token to anyone who asks, like the local stack's."""

    # The local stack's namespace, so the same name is the same user there and here.
    USERS = uuid.UUID("4ba6dd54-1f3a-4e6c-9a40-3f2f8e6f7a10")

    def __init__(self) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self.key.public_key()
        numbers = public.public_numbers()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = encode(hashlib.sha256(der).digest()[:12])
        number = lambda value: encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        self.jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id}
        self.jwk |= {"n": number(numbers.n), "e": number(numbers.e)}
        self.server = ThreadingHTTPServer((HOST, 0), issuer_handler(self))
        self.server.daemon_threads = True
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
        self.server.server_close()

    def discovery(self) -> dict:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks.json",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self, username: str, groups: list[str]) -> str:
        """An access token with the claims of a user pool."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": str(uuid.uuid5(self.USERS, username)),
            "client_id": AUDIENCE,
            "token_use": "access",
            "scope": "openid",
            "username": username,
            "iat": now,
            "auth_time": now,
            "exp": now + TOKEN_SECONDS,
            "jti": str(uuid.uuid4()),
        }
        if groups:
            claims["cognito:groups"] = groups
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        signed = ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        return f"{signed}.{encode(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def issue(self, body: bytes) -> tuple[int, dict]:
        """The answer to a request for a token."""
        refuse = lambda detail: (400, {"title": "Bad Request", "status": 400, "detail": detail})
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return refuse('The body must be a JSON object such as {"username":"alice"}')
        username, groups = request.get("username"), request.get("groups", [])
        if not isinstance(username, str) or not 1 <= len(username) <= MAX_USERNAME_CHARS:
            return refuse(f"username must be a string of 1 to {MAX_USERNAME_CHARS} characters")
        # API Gateway passes a list of claims to functions with spaces between its items.
        name = re.compile(rf"[^\s\0-\x1f]{{1,{MAX_GROUP_CHARS}}}")
        are_names = isinstance(groups, list) and all(isinstance(one, str) and name.fullmatch(one) for one in groups)
        if not are_names:
            return refuse(f"groups must be a list of names of 1 to {MAX_GROUP_CHARS} characters without spaces")
        return 200, {"accessToken": self.token(username, groups), "tokenType": "Bearer", "expiresIn": TOKEN_SECONDS}


def issuer_handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            documents = {
                "/.well-known/openid-configuration": issuer.discovery(),
                "/jwks.json": {"keys": [issuer.jwk]},
            }
            known = self.path in documents
            self.answer(200 if known else 404, documents.get(self.path, {"title": "Not Found", "status": 404}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/token":
                self.answer(*issuer.issue(body))
            else:
                self.answer(404, {"title": "Not Found", "status": 404})

        def answer(self, status: int, document: dict) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json" if status == 200 else "application/problem+json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_template(path: Path) -> dict:
    from samtranslator.yaml_helper import yaml_parse

    try:
        return yaml_parse(path.read_text())
    except OSError as error:
        raise Failure(f"the template {path} can't be read: {error.strerror}") from error


def functions_of(template: dict) -> dict[str, dict]:
    resources = template["Resources"].items()
    return {name: resource for name, resource in resources if resource["Type"] == "AWS::Serverless::Function"}


def binaries_of(template: dict, folder: Path) -> dict[str, Path]:
    """The binary of each function."""
    binaries = {
        name: folder / function["Metadata"]["BuildProperties"]["Binary"]
        for name, function in functions_of(template).items()
    }
    missing = [path.name for path in binaries.values() if not path.is_file()]
    if missing:
        names = ", ".join(missing)
        raise Failure(f"{folder} has no {names}: build the functions, or name their folder with --functions")
    return binaries


def upload(ministack: MiniStack, template: dict, binaries: dict[str, Path]) -> None:
    """Puts the archive of each function into a bucket, and its place into the template, as `sam package` does."""
    s3 = ministack.client("s3")
    s3.create_bucket(Bucket=CODE_BUCKET)
    if not shutil.which("strip"):
        say("the functions keep their debug information, because there is no `strip`")

    def archive_and_put(name: str) -> None:
        s3.put_object(Bucket=CODE_BUCKET, Key=f"{name}.zip", Body=archive(binaries[name], ministack.directory))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(archive_and_put, binaries))
    for name, function in functions_of(template).items():
        function.setdefault("Properties", {})["CodeUri"] = {"Bucket": CODE_BUCKET, "Key": f"{name}.zip"}


def archive(binary: Path, scratch: Path) -> bytes:
    """A function's code: one file that can be run."""
    program = binary
    if shutil.which("strip"):
        program = scratch / f"{binary.name}.stripped"
        subprocess.run(["strip", "-o", program, binary], check=True)
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as code:
        code.writestr(entry, program.read_bytes(), compresslevel=1)
    if program is not binary:
        program.unlink()
    return buffer.getvalue()


def translate(template: dict, parameters: dict[str, str]) -> dict:
    """Turns the resources of SAM into those of CloudFormation, with the translator that CloudFormation uses."""
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.translator.transform import transform

    # The translator asks boto3 for the region.
    os.environ["AWS_DEFAULT_REGION"] = REGION
    try:
        return transform(template, parameters, SimpleNamespace(load=dict))
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise Failure(f"the template can't be translated: {error.message} {causes}") from error


def adapt(template: dict, ministack: MiniStack) -> None:
    """Writes in other words what MiniStack's CloudFormation does not read, and leaves out what it does not have."""
    resources = template["Resources"]
    of_type = lambda kind: {name: one for name, one in resources.items() if one["Type"] == kind}

    def leave_out(names: list[str], reason: str) -> None:
        for name in names:
            del resources[name]
        if names:
            say(f"left out: {', '.join(sorted(names))}: {reason}")

    for name, policy in (of_type("AWS::SQS::QueuePolicy") | of_type("AWS::S3::BucketPolicy")).items():
        document = policy["Properties"]["PolicyDocument"]
        others = [one for one in document["Statement"] if one.get("Condition") != DEMANDS_TLS]
        if not others:
            leave_out([name], "it does nothing but demand TLS, and MiniStack is reached by HTTP here")
        elif len(others) < len(document["Statement"]):
            document["Statement"] = others
            say(f"{name}: without the statement that demands TLS, because MiniStack is reached by HTTP here")
    leave_out(
        list(of_type("AWS::ApiGatewayV2::RouteResponse")),
        "MiniStack has no such resource, and sends what a function returns without it",
    )
    alarms = of_type("AWS::CloudWatch::Alarm").items()
    expressions = [name for name, alarm in alarms if "Metrics" in alarm["Properties"]]
    leave_out(expressions, "MiniStack has no alarms on expressions")
    if expressions:
        leave_out(list(of_type("AWS::CloudWatch::Dashboard")), "it shows alarms that are left out")

    for name, authorizer in of_type("AWS::ApiGatewayV2::Authorizer").items():
        if "IdentitySource" not in authorizer["Properties"]:
            authorizer["Properties"]["IdentitySource"] = []
            say(f"{name}: IdentitySource is set to [], because MiniStack's default is the header Authorization")

    for name, api in of_type("AWS::ApiGatewayV2::Api").items():
        if "Body" in api["Properties"]:
            made = without_body(name, api, resources)
            say(f"{name}: its Body is written as {made} resources, {IGNORED}")

    for function in of_type("AWS::Lambda::Function").values():
        wanted = function["Properties"].get("LoggingConfig", {})
        variables = function["Properties"].setdefault("Environment", {}).setdefault("Variables", {})
        for variable, setting in LOG_VARIABLES.items():
            if setting in wanted:
                variables[variable] = wanted[setting]
    names = " and ".join(LOG_VARIABLES)
    say(f"every function: {names} say what LoggingConfig says, because MiniStack does not set them")

    # Functions would call AWS itself at these addresses.
    address = re.compile(r"https://\$\{(\w+)\}\.execute-api\.\$\{AWS::Region\}\.\$\{AWS::URLSuffix\}")
    changed = {}
    for name, function in of_type("AWS::Lambda::Function").items():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        for variable, value in variables.items():
            if isinstance(value, dict) and isinstance(value.get("Fn::Sub"), str) and address.search(value["Fn::Sub"]):
                own = address.sub(rf"{ministack.url}/_aws/execute-api/${{\1}}", value["Fn::Sub"])
                variables[variable] = {"Fn::Sub": own}
                changed.setdefault((variable, own), []).append(name)
    for (variable, own), names in changed.items():
        say(f"{', '.join(names)}: {variable} is {own}")


def without_body(name: str, api: dict, resources: dict) -> int:
    """Turns the OpenAPI document of an HTTP API into resources that say the same. Gives their number."""
    properties = api["Properties"]
    body = properties.pop("Body")
    properties["ProtocolType"] = "HTTP"
    properties["Name"] = body["info"]["title"]
    cors = body.get("x-amazon-apigateway-cors")
    if cors:
        properties["CorsConfiguration"] = cors
    made = {}

    def make(suffix: str, kind: str, **values: object) -> dict:
        made[name + suffix] = {"Type": f"AWS::ApiGatewayV2::{kind}", "Properties": {"ApiId": {"Ref": name}, **values}}
        return {"Ref": name + suffix}

    authorizers = {}
    for scheme, details in body.get("components", {}).get("securitySchemes", {}).items():
        details = details["x-amazon-apigateway-authorizer"]
        authorizers[scheme] = make(
            f"{scheme}Authorizer",
            "Authorizer",
            Name=scheme,
            AuthorizerType="JWT",
            IdentitySource=[details["identitySource"]],
            JwtConfiguration={
                "Issuer": details["jwtConfiguration"]["issuer"],
                "Audience": details["jwtConfiguration"]["audience"],
            },
        )
    routes = [(path, method, one) for path, methods in body["paths"].items() for method, one in methods.items()]
    for index, (path, method, operation) in enumerate(routes):
        integration = operation["x-amazon-apigateway-integration"]
        target = make(
            f"Integration{index}",
            "Integration",
            IntegrationType="AWS_PROXY",
            IntegrationMethod="POST",
            IntegrationUri=integration["uri"],
            PayloadFormatVersion=integration["payloadFormatVersion"],
        )
        schemes = [scheme for one in operation.get("security", []) for scheme in one if scheme != "NONE"]
        secured = {"AuthorizationType": "JWT", "AuthorizerId": authorizers[schemes[0]]} if schemes else {}
        verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
        target = {"Fn::Join": ["/", ["integrations", target]]}
        make(f"Route{index}", "Route", RouteKey=f"{verb} {path}", Target=target, **secured)
    resources |= made
    return len(made)


def deploy(ministack: MiniStack, template: dict, parameters: dict[str, str]) -> dict[str, str]:
    """Creates the stack. Gives the physical id of each resource."""
    ministack.client("s3").put_object(Bucket=CODE_BUCKET, Key="template.json", Body=json.dumps(template).encode())
    cloudformation = ministack.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateURL=f"{ministack.url}/{CODE_BUCKET}/template.json",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
        OnFailure="DO_NOTHING",
    )

    def created() -> object:
        status = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
        if status.endswith(("FAILED", "ROLLBACK_COMPLETE")):
            events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
                for event in events
                if event["ResourceStatus"].endswith("FAILED")
            ]
            raise Failure("\n  ".join([f"the stack is {status}", *reasons]))
        return True if status == "CREATE_COMPLETE" else status

    ministack.wait_for("the stack to be created", created)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK)
    resources = [one for page in pages for one in page["StackResourceSummaries"]]
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}


def set_what_is_ignored(ministack: MiniStack, template: dict, ids: dict[str, str], values: dict[str, str]) -> None:
    """Sets by calls what MiniStack's CloudFormation accepts and ignores."""
    functions, tables = ministack.client("lambda"), ministack.client("dynamodb")
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Function" and "ReservedConcurrentExecutions" in properties:
            if values["ReserveConcurrency"] == "true":
                limit = int(values["MaxConcurrentMessages"])
                functions.put_function_concurrency(FunctionName=ids[name], ReservedConcurrentExecutions=limit)
                say(f"{name}: a call sets ReservedConcurrentExecutions to {limit}, {IGNORED}")
        if resource["Type"] == "AWS::DynamoDB::Table" and "TimeToLiveSpecification" in properties:
            lifetime = properties["TimeToLiveSpecification"]
            setting = {"AttributeName": lifetime["AttributeName"], "Enabled": lifetime["Enabled"]}
            tables.update_time_to_live(TableName=ids[name], TimeToLiveSpecification=setting)
            say(f"{name}: a call sets TimeToLiveSpecification, {IGNORED}")


def wait_for_answers(ministack: MiniStack, issuer: Issuer, ready: dict) -> None:
    """Waits until the REST API answers, a client is let in, and its place is free again after it has left."""
    token = issuer.token(FIRST_USER, [])

    def admission() -> dict | str:
        status, body = fetch(f"{ready['url']}/api/admission", token)
        return json.loads(body) if status == 200 else f"{status} {body.decode(errors='replace')}"

    def is_open() -> object:
        seen = admission()
        return True if isinstance(seen, dict) and seen["state"] == "open" else seen

    ministack.wait_for("the REST API to answer", is_open)
    ministack.wait_for("the WebSocket API to let a client in", lambda: shake_hands(ready["websocketUrl"], token))
    ministack.wait_for("the place of a client that has left to be free", is_open)


def shake_hands(url: str, token: str) -> object:
    """Opens a WebSocket and closes it. Gives True, or the refusal."""
    parts = urllib.parse.urlsplit(url)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    request = [
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"Authorization: Bearer {token}",
    ]
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as line:
        line.sendall("\r\n".join([*request, "", ""]).encode())
        answer = line.recv(4096)
        status = answer.split(b"\r\n", 1)[0].decode(errors="replace")
        if " 101" not in status:
            return status or "the connection was closed"
        # A close frame with the code 1000, masked with zeros.
        line.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        while line.recv(4096):
            pass
    return True


@contextlib.contextmanager
def started(root: Path, _host: str = "ministack"):
    """Runs this program for the time of the tests. Gives the variables that they need."""
    command = [sys.executable, __file__, "--log", root / "target/ministack.log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline() or "{}")
            if not ready.get("ready"):
                raise SystemExit("MiniStack does not start")
            yield {
                "PARLEY_URL": ready["url"],
                "PARLEY_WS_URL": ready["websocketUrl"],
                "PARLEY_TOKEN_URL": ready["tokenUrl"],
            }
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
