"""Creates the echo function and its WebSocket API, and prints the path of the WebSocket.

Arguments: the port of MiniStack and, for a function that is a binary, its path.
"""

import io
import sys
import zipfile
from pathlib import Path

import boto3

REGION = "us-east-1"
STAGE = "bench"


def archive(name: str, path: Path) -> bytes:
    """A function's code: one file that can be run."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o755 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as code:
        code.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def main(port: str, bootstrap: str | None = None) -> None:
    # Any credentials do, but there must be some.
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    endpoint = f"http://127.0.0.1:{port}"

    functions = session.client("lambda", endpoint_url=endpoint)
    if bootstrap:
        code = {
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Code": {"ZipFile": archive("bootstrap", Path(bootstrap))},
        }
    else:
        code = {
            "Runtime": "python3.12",
            "Handler": "handler.handler",
            "Code": {"ZipFile": archive("handler.py", Path(__file__).with_name("handler.py"))},
        }
    function = functions.create_function(FunctionName="echo", Role="arn:aws:iam::000000000000:role/echo", **code)
    functions.get_waiter("function_active_v2").wait(FunctionName="echo")

    apis = session.client("apigatewayv2", endpoint_url=endpoint)
    api = apis.create_api(
        Name="echo", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    integration = apis.create_integration(
        ApiId=api,
        IntegrationType="AWS_PROXY",
        IntegrationUri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
        f"{function['FunctionArn']}/invocations",
    )["IntegrationId"]
    # The body comes back without a route response, which AWS would ask for.
    apis.create_route(
        ApiId=api,
        RouteKey="$default",
        Target=f"integrations/{integration}",
        RouteResponseSelectionExpression="$default",
    )
    apis.create_stage(ApiId=api, StageName=STAGE, AutoDeploy=True)
    print(f"/_aws/execute-api/{api}/{STAGE}")


main(*sys.argv[1:])
