"""The endpoints that the suite can be pointed at. Each runs or deploys template.yaml, or finds it deployed."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
TEMPLATE = HERE / "template.yaml"
REGION = "us-east-1"
STACK = "conformance"


class Endpoint:
    """Where a client finds the parts of the stack."""

    def __init__(self, *, open_url, closed_url, http_url, management, services=None, credentials=True, ids=None):
        # WebSocket addresses, and that of the HTTP API without a slash at the end.
        self.open_url, self.closed_url, self.http_url = open_url, closed_url, http_url
        # The addresses of AWS's clients, by the names that boto3 has for services. None is AWS itself.
        self.services = (services or {}) | {"apigatewaymanagementapi": management}
        self.credentials = credentials
        self.ids = ids or {}

    def client(self, service):
        import boto3
        from botocore.config import Config

        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"} if self.credentials else {}
        return boto3.client(service, region_name=REGION, endpoint_url=self.services.get(service), config=config, **keys)

    def environment(self):
        """For clients that are programs."""
        variables = os.environ | {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "AWS_PAGER": ""}
        if self.credentials:
            variables |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        for service, url in self.services.items():
            if url:
                variables[f"AWS_ENDPOINT_URL_{service.upper()}"] = url
        return variables


@contextlib.contextmanager
def samovar():
    """This repository's own local stack."""
    program = ROOT / "target/debug/samovar"
    command = [program, "--port", "0", "--ephemeral", "--template", TEMPLATE]
    # It leaves nothing with the files of its user.
    own = {name: str(ROOT / "target/conformance-files") for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME")}
    with (ROOT / "target/conformance-samovar.log").open("w") as log:
        stack = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            ready = json.loads(stack.stdout.readline() or "{}")
            if not ready.get("ready"):
                sys.exit(f"samovar does not start: see {log.name}")
            url = ready["url"]
            socket = url.replace("http", "ws", 1)
            services = {"lambda": url, "dynamodb": f"{url}/_aws", "sqs": f"{url}/_aws"}
            yield Endpoint(
                open_url=f"{socket}/open",
                closed_url=f"{socket}/closed",
                http_url=url,
                management=f"{url}/open",
                services=services,
            )
        finally:
            stack.terminate()
            stack.wait()


@contextlib.contextmanager
def ministack():
    """MiniStack, with the template deployed by its CloudFormation. `tests/hosts/ministack.py` knows how."""
    sys.path.insert(0, str(ROOT / "tests/hosts"))
    import ministack as host

    host.check_packages()
    emulator = host.MiniStack(0, ROOT / "target/conformance-ministack.log")
    try:
        emulator.start()
        template = host.read_template(TEMPLATE)
        s3 = emulator.client("s3")
        s3.create_bucket(Bucket=host.CODE_BUCKET)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as code:
            code.write(HERE / "function/app.py", "app.py")
        s3.put_object(Bucket=host.CODE_BUCKET, Key="function.zip", Body=archive.getvalue())
        place = {"Bucket": host.CODE_BUCKET, "Key": "function.zip"}
        template["Globals"]["Function"]["CodeUri"] = place
        translated = host.translate(template, {})
        host.adapt(translated, emulator)
        ids = host.deploy(emulator, translated, {})
        host.set_what_is_ignored(emulator, translated, ids, {})
        base = f"{emulator.url}/_aws/execute-api"
        socket = base.replace("http", "ws", 1)
        yield Endpoint(
            open_url=f"{socket}/{ids['Open']}/open",
            closed_url=f"{socket}/{ids['Closed']}/closed",
            http_url=f"{base}/{ids['Http']}",
            management=f"{base}/{ids['Open']}/open",
            services={name: emulator.url for name in ("lambda", "dynamodb", "sqs")},
        )
    finally:
        emulator.stop()


@contextlib.contextmanager
def aws():
    """The stack `conformance` in the account and region of the environment, deployed with `sam deploy`."""
    import boto3

    region = boto3.session.Session().region_name or REGION
    stack = boto3.client("cloudformation", region_name=region).describe_stacks(StackName=STACK)["Stacks"][0]
    ids = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    host = lambda name: f"{ids[name]}.execute-api.{region}.amazonaws.com"
    yield Endpoint(
        open_url=f"wss://{host('OpenId')}/open",
        closed_url=f"wss://{host('ClosedId')}/closed",
        http_url=f"https://{host('HttpId')}",
        management=f"https://{host('OpenId')}/open",
        credentials=False,
    )


ENDPOINTS = {"samovar": samovar, "ministack": ministack, "aws": aws}
