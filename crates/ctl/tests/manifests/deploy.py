"""What the tests of deploy/ ask kustomize, Helm and the schemas of Kubernetes.

    deploy.py kustomize FOLDER            the documents that `kubectl kustomize` makes of it, as JSON
    deploy.py helm CHART NAMESPACE        those of the chart with the values on standard input, as JSON
    deploy.py lint CHART                  what `helm lint --strict` says with the values on standard input, as JSON
    deploy.py read FILE                   a file's documents, as JSON
    deploy.py validate VERSION SCHEMAS    what is wrong with the documents on standard input, as JSON: a list of texts

A mistake in what is read ends it with exit status 1 and a text on standard error.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path

import helm_python
import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils
from referencing import Registry, Resource


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document is not None]


def kustomize(folder):
    kubectl = Path(sys.executable).parent / "kubectl"
    made = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SystemExit(made.stderr)
    return documents(made.stdout)


def helm(chart, namespace):
    with helm_python.Chart.load(chart) as loaded:
        try:
            files = loaded.render(json.load(sys.stdin), name="srv6", namespace=namespace)
        except helm_python.HelmError as error:
            raise SystemExit(str(error))
    return [document for name in sorted(files) if name.endswith(".yaml") for document in documents(files[name])]


def lint(chart):
    report = helm_python.lint(chart, json.load(sys.stdin), strict=True)
    # 2 and 3 are warnings and errors.
    return report["errors"] + [m["error"] for m in report["messages"] if m["severity"] >= 2]


def read(file):
    return documents(Path(file).read_text())


def validate(version, schemas):
    """Against Kubernetes' own schemas without unknown fields, and those in SCHEMAS for kinds that aren't its own."""
    # It reads two megabytes of definitions for each document, otherwise.
    utils.schema_contents = functools.cache(utils.schema_contents)
    # A pod in a resource of others' is held to Kubernetes' schema of a pod.
    definitions = utils.schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json", version)
    registry = Resource.from_contents(definitions) @ Registry()
    others = {}
    for path in Path(schemas).glob("*.json"):
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        kind = schema["properties"]["kind"]["const"], schema["properties"]["apiVersion"]["const"]
        others[kind] = jsonschema.Draft202012Validator(schema, registry=registry)
    mistakes = []
    for document in json.load(sys.stdin):
        name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
        other = others.get((document.get("kind"), document.get("apiVersion")))
        try:
            if other is not None:
                other.validate(document)
            else:
                kubernetes_validate.validate(document, version, strict=True)
        except jsonschema.ValidationError as error:
            mistakes.append(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            mistakes.append(f"{name}: {error.message}")
    return mistakes


def main():
    does = {"kustomize": kustomize, "helm": helm, "lint": lint, "read": read, "validate": validate}
    json.dump(does[sys.argv[1]](*sys.argv[2:]), sys.stdout)


if __name__ == "__main__":
    main()
