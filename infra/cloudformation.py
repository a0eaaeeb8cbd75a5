"""The SAM template for the other ways to deploy it: as plain CloudFormation, and in SAM for another architecture.

What differs from infra/template.yaml differs only here. Plain CloudFormation needs neither SAM nor a macro where it is
deployed: it takes the packages from a bucket, by architecture, and so the rule that the template carries one package is
gone; the translation itself is AWS's own (aws-sam-translator). In SAM a template can carry one package only, since `sam
deploy` uploads what CodeUri names and resolves no function there; so each architecture has its own.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

TEMPLATE: Final = Path(__file__).resolve().parent / "template.yaml"
TEMPLATE_ARCHITECTURE: Final = "arm64"  # the one whose package infra/template.yaml carries
# Each function's package: the archiver and the sealer have one, and differ by handler and role.
FUNCTIONS: Final = {"ArchiveFunction": "archiver", "SealFunction": "archiver", "CompactionFunction": "compactor"}

_HEAD: Final = "# Made from infra/template.yaml, which explains it, by: make package. Change that file, not this one.\n"
_LINE: Final = 800


def sam_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """infra/template.yaml as data, short intrinsic functions (`!Ref`) written out."""
    template: dict[str, Any] = yaml_parse(path.read_text())
    return template


def sam_text(architecture: str) -> str:
    """infra/template.yaml, comments and all, carrying the package of `architecture` that lies beside it."""
    text = TEMPLATE.read_text()
    for carried, wanted, times in (
        *(
            (f"CodeUri: ../build/{name}-{TEMPLATE_ARCHITECTURE}.zip", f"CodeUri: {name}-{architecture}.zip", times)
            for name, times in Counter(FUNCTIONS.values()).items()
        ),
        (f"Default: {TEMPLATE_ARCHITECTURE}\n", f"Default: {architecture}\n", 1),
        (f"[!Ref Architecture, {TEMPLATE_ARCHITECTURE}]", f"[!Ref Architecture, {architecture}]", 1),
    ):
        assert text.count(carried) == times, f"{carried!r} is {text.count(carried)} times in {TEMPLATE.name}"
        text = text.replace(carried, wanted)
    return _HEAD + text


def plain_template(*, code_bucket: str = "") -> str:
    """The text of the CloudFormation template. With `code_bucket` its parameter CodeBucket has that default."""
    template = sam_template()
    del template["Rules"]["PackageOfThisTemplate"]
    if not template["Rules"]:
        del template["Rules"]
    for function, package in FUNCTIONS.items():
        key = {"Fn::Sub": f"${{CodePrefix}}{package}-${{Architecture}}.zip"}
        template["Resources"][function]["Properties"]["CodeUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": key}
    template["Parameters"] |= _code_parameters(code_bucket)
    # The translator wants some region to know the partition by; nothing of it reaches the result, as a test checks. It
    # would ask IAM for managed policies if a function here named one.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    plain = translator.translate(template, parameter_values={})
    return _HEAD + plain_text(plain)


def plain_text(template: Any) -> str:
    """The text of a template as short as it can be read."""
    return yaml.dump(_plain(template), Dumper=_Compact, sort_keys=False, width=4_000, allow_unicode=True)


def _code_parameters(code_bucket: str) -> dict[str, Any]:
    default = {"Default": code_bucket} if code_bucket else {}
    bucket = {"Type": "String", "Description": "The bucket that holds the packages, in this region", **default}
    prefix = {"Type": "String", "Default": "", "Description": "What their names begin with, such as v1.2.0/"}
    return {"CodeBucket": bucket, "CodePrefix": prefix}


class _Compact(yaml.SafeDumper):
    """Lines are long, for CreateStack takes no more than 51,200 bytes without a bucket, and counts indentation."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or len(json.dumps(mapping)) <= _LINE)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style or len(json.dumps(sequence)) <= _LINE)


def _plain(value: Any) -> Any:
    """The translator's own dict and str types as Python's, which YAML can write."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value
