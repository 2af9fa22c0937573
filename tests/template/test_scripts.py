"""The scripts of infra/, with stand-ins for `aws`, `sam` and `npm` that write down how they were called. Needs jq."""

import json
import os
import subprocess
import tempfile
import unittest

import nag

OUTPUTS = {
    "ApiUrl": "https://api.example.com",
    "WebSocketUrl": "wss://api.example.com/ws",
    "Issuer": "https://cognito.example.com/pool",
    "ClientId": "client",
    "SiteAddress": "https://d111.cloudfront.net",
    "SiteBucketName": "the-bucket",
}
# Answers with the files that the test has written, and passes on what it is to copy from its standard input.
STAND_IN = """#!/bin/sh
printf '%s %s\\n' "$(basename "$0")" "$*" >> "$STAND_INS/calls"
case "$*" in
  *describe-stacks*) cat "$STAND_INS/stack" ;;
  *get-template*) cat "$STAND_INS/template" ;;
  *describe-stack-resource*) test ! -e "$STAND_INS/gone" && echo the-bucket ;;
  's3 cp - '*) cat > "$STAND_INS/copied" ;;
esac
"""


class Script(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for program in ["aws", "sam", "npm"]:
            path = self.path(program)
            self.write(program, STAND_IN)
            os.chmod(path, 0o755)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def run_script(self, *command, said=""):
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "STAND_INS": self.folder}
        script = os.path.join(nag.ROOT, "infra", command[0])
        return subprocess.run(
            [script, *command[1:]], env=environment, input=said, capture_output=True, text=True, timeout=60, check=False
        )


class PublishSite(Script):
    def publish(self, *arguments, **parameters):
        """Runs the script on a stack that was deployed with these parameters."""
        template = nag.read()
        values = nag.values(template, parameters)
        stack = {
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()],
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": str(int(value) if isinstance(value, float) else value)}
                for key, value in values.items()
            ],
        }
        self.write("stack", json.dumps(stack))
        # CloudFormation returns the template that SAM's transform has made, as text.
        self.write("template", json.dumps(json.dumps(nag.translate(template, parameters))))
        done = self.run_script("publish-site", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_the_page_is_built_and_copied_with_its_settings_last(self):
        self.publish("parley")
        calls = self.read("calls").splitlines()
        copies = [call for call in calls if call.startswith("aws s3 cp")]
        self.assertTrue(all("--stack-name parley" in call for call in calls if "cloudformation" in call))
        self.assertLess(calls.index("npm run build --prefix web"), calls.index(copies[0]))
        self.assertTrue(copies[0].startswith("aws s3 cp web/dist/assets s3://the-bucket/assets"))
        self.assertIn("s3://the-bucket/config.json", copies[-1])

    def test_the_settings_name_the_apis_under_the_address_of_the_page(self):
        self.publish(MaxClients="7")
        settings = json.loads(self.read("copied"))
        self.assertEqual(settings["apiUrl"], "https://d111.cloudfront.net")
        self.assertEqual(settings["websocketUrl"], "wss://d111.cloudfront.net/ws")
        self.assertEqual(settings["auth"], {"mode": "oidc", "issuer": OUTPUTS["Issuer"], "clientId": "client"})
        self.assertEqual(settings["limits"]["maxClients"], 7)

    def test_it_says_what_is_missing_until_people_can_sign_in(self):
        command = "sam deploy --stack-name other --parameter-overrides SiteUrl=https://d111.cloudfront.net"
        self.assertIn(command, self.publish("other"))
        self.assertNotIn("sam deploy", self.publish(SiteUrl=OUTPUTS["SiteAddress"]))
        self.assertNotIn("sam deploy", self.publish(OidcIssuer="https://login.example.com", OidcAudience="client"))


class RemoveStack(Script):
    def test_the_bucket_of_the_page_is_emptied_first(self):
        done = self.run_script("remove-stack", "other", said="y\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        _, emptied, deleted, waited = self.read("calls").splitlines()
        self.assertEqual(emptied, "aws s3 rm s3://the-bucket --recursive --only-show-errors")
        self.assertEqual(deleted, "aws cloudformation delete-stack --stack-name other")
        self.assertEqual(waited, "aws cloudformation wait stack-delete-complete --stack-name other")

    def test_nothing_happens_without_a_yes(self):
        done = self.run_script("remove-stack", said="n\n")
        self.assertEqual((done.returncode, done.stdout), (1, "Nothing was removed\n"))
        self.assertEqual(len(self.read("calls").splitlines()), 1)

    def test_nothing_happens_to_a_stack_that_is_not_there(self):
        self.write("gone", "")
        self.assertNotEqual(self.run_script("remove-stack", said="y\n").returncode, 0)
        self.assertEqual(len(self.read("calls").splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
