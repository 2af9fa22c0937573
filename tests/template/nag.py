"""Checks infra/template.yaml against the rules of cdk-nag (rules.py) as it is deployed: `python3 nag.py`.

The template is translated as `sam deploy` does it, with the globals and with the roles, routes and event sources that
SAM makes. Then parameters and conditions are resolved, once for each set of parameters in parameter_sets(), because a
resource may keep a rule with one value and break it with another.

A finding that is meant has its reason in the template. This is cdk-nag's own form for CloudFormation:

    Metadata: { cdk_nag: { rules_to_suppress: [{ id: AwsSolutions-S1, reason: … }] } }

- Beside a resource it holds for this resource, and for those that SAM makes of it.
- In the Metadata of the template it holds for all resources. There it must name its findings in `applies_to`.
- If `applies_to` is given, it holds for these findings alone.
- One that suppresses nothing is an error.

Needs aws-sam-translator, which comes with aws-sam-cli.
"""

import copy
import dataclasses
import logging
import os
import sys
import tomllib

try:
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.yaml_helper import yaml_parse
except ImportError as error:
    sys.exit(f"{error}. It comes with the SAM CLI: pip install aws-sam-cli")

import rules

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TEMPLATE = os.path.join(ROOT, "infra", "template.yaml")
CONFIG = os.path.join(ROOT, "infra", "samconfig.toml")

# It warns that nobody collects its own metrics.
logging.getLogger("samtranslator").setLevel(logging.ERROR)

# How a finding of the whole template names its place.
EVERYWHERE = "Metadata of the template"


class Mistake(Exception):
    """The template, or what this check knows about it, has to be changed."""


def parameter_sets():
    """The sets of parameters by name: those of samconfig.toml, and three in which each other condition changes."""
    with open(CONFIG, "rb") as file:
        environments = tomllib.load(file)
    sets = {}
    for name, settings in environments.items():
        if isinstance(settings, dict):
            overrides = settings.get("deploy", {}).get("parameters", {}).get("parameter_overrides", [])
            sets[name] = dict(override.split("=", 1) for override in overrides)
    account = "arn:aws:{}:us-east-1:123456789012:{}".format
    sets["a domain and a web ACL"] = {
        "SiteDomainName": "chat.example.com",
        "SiteUrl": "https://chat.example.com",
        "SiteCertificateArn": account("acm", "certificate/00000000-0000-0000-0000-000000000000"),
        "SiteWebAclArn": account("wafv2", "global/webacl/site/00000000-0000-0000-0000-000000000000"),
        "AlarmTopicArn": account("sns", "alarms"),
        "SetApiLogsRole": "false",
    }
    sets["an issuer and a storage address of one's own"] = {
        "OidcIssuer": "https://login.example.com",
        "OidcAudience": "client",
        "MediaEndpointUrl": "https://files.example.com",
        "AllowSignUp": "false",
    }
    sets["Bedrock"] = {"LlmProvider": "bedrock", "LlmModel": "amazon.nova-lite-v1:0"}
    sets["a model behind a key"] = {
        "LlmProvider": "openai",
        "LlmModel": "gpt-4o-mini",
        "LlmApiKeySecretArn": account("secretsmanager", "secret:llm"),
    }
    return sets


def read(path=TEMPLATE):
    """The template, with intrinsic functions in their long form."""
    with open(path, encoding="utf-8") as file:
        return yaml_parse(file.read())


def values(template, given):
    """The values of all parameters. Numbers are numbers."""
    unknown = sorted(set(given) - set(template["Parameters"]))
    if unknown:
        raise Mistake(f"A set of parameters names {', '.join(unknown)}, which the template does not have")
    parameters = {}
    for name, declared in template["Parameters"].items():
        value = given.get(name, declared.get("Default"))
        parameters[name] = float(value) if declared["Type"] == "Number" else str(value)
        allowed = [str(one) for one in declared.get("AllowedValues", [])]
        if allowed and str(value) not in allowed:
            raise Mistake(
                f"A set of parameters gives {name} the value {value}, but it must be one of {', '.join(allowed)}"
            )
    return parameters


def translate(template, given):
    """The template as CloudFormation gets it: SAM's resources are made of its macros."""
    template = copy.deepcopy(template)
    # `sam package` puts the code into a bucket and its address here. The translation takes nothing else.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return translator.translate(sam_template=template, parameter_values=dict(given))


class Resolver:
    """Replaces parameters and conditions by their values. References to resources stay."""

    def __init__(self, template, parameters):
        self.parameters = parameters
        self.conditions = template.get("Conditions", {})

    def holds(self, condition):
        """Whether a condition, by its name or by its expression, holds."""
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        ((function, operands),) = condition.items()
        match function:
            case "Condition":
                return self.holds(operands)
            case "Fn::Equals":
                left, right = (self.value(operand) for operand in operands)
                return str(left) == str(right)
            case "Fn::Not":
                return not self.holds(operands[0])
            case "Fn::And":
                return all(self.holds(operand) for operand in operands)
            case "Fn::Or":
                return any(self.holds(operand) for operand in operands)
        raise Mistake(f"A condition uses {function}, which tests/template/nag.py does not know")

    def value(self, value):
        """The value with what is known put in. What becomes AWS::NoValue is left out of maps and lists."""
        if isinstance(value, list):
            return [item for item in map(self.value, value) if item != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, operand),) = value.items()
            if function == "Fn::If":
                name, then, otherwise = operand
                return self.value(then if self.holds(name) else otherwise)
            if function == "Ref" and operand in self.parameters:
                return self.parameters[operand]
        resolved = {key: self.value(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item != NO_VALUE}


NO_VALUE = {"Ref": "AWS::NoValue"}


def resources(template, given):
    """The resources that are deployed with these parameters, by logical id."""
    translated = translate(template, given)
    resolver = Resolver(translated, values(template, given))
    return {
        name: {**resource, "Properties": resolver.value(resource.get("Properties", {}))}
        for name, resource in translated["Resources"].items()
        if "Condition" not in resource or resolver.holds(resource["Condition"])
    }


@dataclasses.dataclass(frozen=True)
class Finding:
    """A resource breaks a rule. `what` tells the places in one resource apart, and is empty if there is one."""

    rule: str
    resource: str
    what: str

    def __str__(self):
        return (
            f"{self.resource} breaks {self.rule}{self.what and ' by ' + self.what} ({rules.RULES[self.rule].statement})"
        )


def findings(deployed):
    """What breaks a rule, without a look at what is suppressed."""
    found = set()
    for rule in rules.RULES.values():
        for name, resource in deployed.items():
            if resource["Type"] in rule.types:
                for what in rule.check(deployed, name, resource["Properties"]):
                    found.add(Finding(rule.id, name, what))
    return found


def unknown_types(deployed):
    """The types of resources for which nobody has looked whether cdk-nag has a rule."""
    known = rules.WITHOUT_RULES.union(*(rule.types for rule in rules.RULES.values()))
    return sorted({resource["Type"] for resource in deployed.values()} - known)


def source(template, name):
    """The resource of the template of which SAM has made this one. Its logical id is the beginning of the name."""
    if name in template["Resources"]:
        return name
    return max((one for one in template["Resources"] if name.startswith(one)), key=len, default=None)


@dataclasses.dataclass(frozen=True)
class Suppression:
    """One finding, or all of a rule if `what` is None, that is meant. `place` is a resource or EVERYWHERE."""

    rule: str
    place: str
    what: str | None

    def __str__(self):
        return f"{self.rule} in {self.place}{'' if self.what is None else ' for ' + self.what}"

    def covers(self, template, finding):
        """Whether the finding is one of those that are meant."""
        return (
            self.rule == finding.rule
            and self.place in (EVERYWHERE, source(template, finding.resource))
            and self.what in (None, finding.what)
        )


def suppressions(template):
    """All suppressions of a template, and what is wrong with their form."""
    places = {EVERYWHERE: template.get("Metadata", {})}
    places.update((name, resource.get("Metadata", {})) for name, resource in template["Resources"].items())
    meant, problems = [], []
    for place, metadata in places.items():
        for entry in metadata.get("cdk_nag", {}).get("rules_to_suppress", []):
            rule, applies_to = entry.get("id"), entry.get("applies_to")
            where = f"The suppression of {rule} in {place}"
            if rule not in rules.RULES:
                problems.append(f"{where} names no rule of tests/template/rules.py")
            if not str(entry.get("reason") or "").strip():
                problems.append(f"{where} has no reason")
            if set(entry) - {"id", "reason", "applies_to"}:
                problems.append(f"{where} may have id, reason and applies_to alone")
            if place == EVERYWHERE and not applies_to:
                problems.append(f"{where} holds for all resources, so it must name its findings in applies_to")
            meant += [Suppression(rule, place, what) for what in applies_to or [None]]
    return meant, problems


def check(template, sets):
    """Everything that has to be changed in the template, as sentences."""
    meant, problems = suppressions(template)
    used, open_findings = set(), {}
    for set_name, given in sets.items():
        deployed = resources(template, given)
        for kind in unknown_types(deployed):
            problems.append(
                f"{kind} is new: see whether cdk-nag has rules for it, and name it in tests/template/rules.py"
            )
        for finding in findings(deployed):
            covering = {one for one in meant if one.covers(template, finding)}
            used |= covering
            if not covering:
                open_findings.setdefault(finding, []).append(set_name)
    for finding, set_names in sorted(open_findings.items(), key=lambda item: str(item[0])):
        with_which = "any parameters" if len(set_names) == len(sets) else "the parameters of " + ", ".join(set_names)
        problems.append(f"{finding} with {with_which}. Repair it, or say beside it in the template why it is meant")
    problems += [f"The suppression of {one} suppresses nothing: remove it" for one in meant if one not in used]
    return list(dict.fromkeys(problems)), len(used)


def main():
    try:
        sets = parameter_sets()
        problems, used = check(read(sys.argv[1] if len(sys.argv) > 1 else TEMPLATE), sets)
    except Mistake as mistake:
        sys.exit(str(mistake))
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(rules.RULES)} rules, {len(sets)} sets of parameters, {used} suppressions, no finding")


if __name__ == "__main__":
    main()
