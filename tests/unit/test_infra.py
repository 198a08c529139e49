"""infra/*.bicep against Microsoft's own models, and against the settings that the product reads."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pycep import BicepParser

from config.settings import Settings
from services.storage.naming import PIECES, WINDOWS
from tests.fixtures.arm_models import MODELS, UNCHECKED, Scope, find_problems, known_versions

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(path.name for path in INFRA.glob("*.bicep"))


@cache
def parsed(name: str) -> dict[str, Any]:
    return BicepParser().parse(file_path=INFRA / name)


def scope_of(bicep: dict[str, Any]) -> Scope:
    allowed = {
        name: next(
            (mark["argument"] for mark in found["decorators"] if mark["type"] == "allowed"), None
        )
        for name, found in bicep.get("parameters", {}).items()
    }
    loops = {
        found["config"]["loop_type"]["detail"]["item_name"]
        for found in bicep.get("resources", {}).values()
        if "loop_type" in found["config"]
    }
    return Scope(
        parameters=allowed,
        variables={name: found["value"] for name, found in bicep.get("variables", {}).items()},
        others=frozenset({*bicep.get("resources", {}), *bicep.get("modules", {}), *loops}),
    )


def body(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource's content, without its loop and its condition."""
    config = resource["config"]
    while "loop_type" in config or set(config) == {"condition", "config"}:
        config = config["config"]
    return config


def resources(name: str) -> list[tuple[str, str, dict[str, Any]]]:
    """The type, the API version and the content of every resource that a file creates."""
    return [
        (found["type"], found["api_version"], body(found))
        for found in parsed(name).get("resources", {}).values()
        if not found["existing"]
    ]


@pytest.mark.parametrize("name", FILES)
def test_every_property_and_enumeration_exists(name: str):
    scope = scope_of(parsed(name))
    problems = [
        problem
        for kind, _, config in resources(name)
        if kind not in UNCHECKED
        for problem in find_problems(kind, config, scope)
    ]
    assert problems == []


def test_every_type_is_checked_or_listed_as_unchecked():
    used = {kind for name in FILES for kind, _, _ in resources(name)}
    assert used == MODELS.keys() | UNCHECKED


def test_api_versions_are_those_of_the_models():
    wrong = {
        f"{kind}@{version}": known_versions(kind)
        for name in FILES
        for kind, version, _ in resources(name)
        if kind in MODELS and version not in known_versions(kind)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "right", "wrong", "problem"),
    [
        ("functions.bicep", "instanceMemoryMB", "instanceMemoryMb", "instanceMemoryMb: unknown"),
        ("functions.bicep", "'blobContainer'", "'blobcontainer'", "'blobcontainer' is not one of"),
        ("functions.bicep", "maximumInstanceCount: m", "maximumInstances: m", "maximumInstances:"),
        ("messaging.bicep", "lockDuration: 'PT1M'", "lockDuration: '1M'", "'1M' is not one of"),
        ("messaging.bicep", "disableLocalAuth: true", "disableLocalAuth: 'true'", "disableLocal"),
        ("database.bicep", "? 'Burstable'", "? 'Bursting'", "'Bursting' is not one of"),
        ("storage.bicep", "kind: 'StorageV2'", "kind: 'Storage2'", "'Storage2' is not one of"),
        ("storage.bicep", "  kind: 'StorageV2'\n", "", "kind: missing"),
        ("containers.bicep", "memory: '2Gi'", "memoryGb: 2", "memoryGb: unknown"),
    ],
)
def test_a_typo_is_found(name: str, right: str, wrong: str, problem: str):
    text = (INFRA / name).read_text()
    assert right in text
    bicep = BicepParser().parse(text=text.replace(right, wrong, 1))
    found = [
        line
        for resource in bicep["resources"].values()
        if resource["type"] not in UNCHECKED and not resource["existing"]
        for line in find_problems(resource["type"], body(resource), scope_of(bicep))
    ]
    assert [line for line in found if problem in line], found


def test_modules_get_exactly_the_parameters_that_they_declare():
    for name, module in parsed("main.bicep")["modules"].items():
        config = body(module)
        declared = parsed(module["detail"]["path"])["parameters"]
        assert config["params"].keys() == declared.keys(), name


def test_parameter_file_names_parameters_that_exist():
    known = parsed("main.bicep")["parameters"]
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given.keys() <= known.keys()
    required = {name for name, found in known.items() if found["default"] is None}
    assert required <= given.keys()


def product_settings() -> dict[str, Any]:
    module = body(parsed("main.bicep")["modules"]["functions"])
    return module["params"]["settings"]["function"]["parameters"]["arg_1"]


def host_settings(name: str) -> dict[str, Any]:
    return parsed("functions.bicep")["variables"][name]["value"]


def names_in_triggers() -> set[str]:
    """App settings that the host reads for the triggers: %NAME%."""
    texts = (path.read_text() for path in (ROOT / "triggers").rglob("*.py"))
    return {name for text in texts for name in re.findall(r'"%([A-Z_]+)%', text)}


def setting_names() -> dict[str, bool]:
    """Every app setting that config reads, and whether it must be there."""
    return {
        str(field.validation_alias or name).upper(): field.is_required()
        for name, field in Settings.model_fields.items()
    }


def test_every_setting_that_is_written_is_read():
    read = setting_names().keys() | names_in_triggers()
    assert {name.upper() for name in product_settings()} <= read


def test_every_setting_that_has_no_default_is_written():
    needed = {name for name, is_required in setting_names().items() if is_required}
    assert needed | names_in_triggers() <= {name.upper() for name in product_settings()}


def test_written_settings_are_accepted_by_the_product():
    """The rules for identities are the product's own: all parts must name the same one."""
    sample = {name.lower(): "value" for name in product_settings()}
    sample["servicebus_connection__credential"] = "managedidentity"
    assert Settings.model_validate(sample).service_bus == "value"


# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#deprecated-properties-and-settings
REJECTED_BY_FLEX = re.compile(
    r"FUNCTIONS_(EXTENSION_VERSION|WORKER_RUNTIME|WORKER_PROCESS_COUNT)|WEBSITE_.*|SCM_.*"
    r"|ENABLE_ORYX_BUILD|AzureWebJobsDashboard|FUNCTIONS_MAX_HTTP_CONCURRENCY"
)


def test_flex_consumption_gets_no_setting_that_it_rejects():
    written = host_settings("hostSettings").keys() | product_settings().keys()
    assert [name for name in written if REJECTED_BY_FLEX.fullmatch(name)] == []


def test_no_setting_holds_a_secret():
    written = host_settings("hostSettings").keys() | product_settings().keys()
    assert "AzureWebJobsStorage" not in written
    assert "SERVICEBUS_CONNECTION" not in written
    assert ":" not in product_settings()["DATABASE_URL"].split("//")[1].split("@")[0].replace(
        "${identities.outputs.api.name}", ""
    )


@pytest.mark.parametrize("part", ["tiles", "stac"])
def test_containers_get_the_settings_that_their_app_reads(part: str):
    """os.environ["X"] must be written; what is written must be read, or belong to the SDK."""
    folder = ROOT / {"tiles": "tiles", "stac": "stac_api"}[part]
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    needed = set(re.findall(r'environ\["([A-Z_]+)"\]', text)) - {"GDAL_SKIP"}
    optional = set(re.findall(r'environ\.get\("([A-Z_]+)"', text))
    [template] = [
        config["properties"]["template"]
        for kind, _, config in resources("containers.bicep")
        if kind.endswith("containerApps")
        and config["tags"]["function"]["parameters"]["arg_2"] == {"'azd-service-name'": part}
    ]
    written = {setting["name"] for setting in template["containers"][0]["env"]}
    assert needed <= written
    assert written <= needed | optional | {"AZURE_CLIENT_ID"}


# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Azure Service Bus Data Owner": "090c5cfd-751d-490a-894a-3ce6f1109419",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Blob Delegator": "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
}


def test_role_ids_match_their_names():
    assert json.loads((INFRA / "roles.json").read_text()) == ROLES


def granted() -> set[tuple[str, str, str]]:
    """(identity, role, scope) of every role assignment, by the names in the files."""
    found = set()
    for path in INFRA.glob("*.bicep"):
        pattern = (
            r"roleAssignments@.*?scope: (\w+).*?principalId: (\w+).*?"
            r"roles(?:\['([^']+)'\]|\.(\w+))\)"
        )
        for scope, principal, quoted, plain in re.findall(pattern, path.read_text(), re.DOTALL):
            found.add((principal, quoted or plain, scope))
    return found


def test_every_identity_gets_only_the_rights_that_it_needs():
    assert granted() == {
        ("api", "Storage Blob Data Owner", "host"),
        ("api", "Storage Blob Data Contributor", "bronze"),
        ("api", "Storage Blob Data Contributor", "silver"),
        ("api", "Storage Blob Delegator", "data"),
        ("api", "Azure Service Bus Data Owner", "namespace"),
        ("tiles", "Storage Blob Data Reader", "silver"),
        ("identity", "AcrPull", "registry"),
        ("principalId", "Monitoring Metrics Publisher", "insights"),
    }


@pytest.mark.parametrize("name", FILES)
def test_outputs_hold_no_secret(name: str):
    """Outputs are readable by everyone who may read the deployment."""
    outputs = json.dumps(parsed(name).get("outputs", {}))
    assert not re.search(r"list_?\w*keys|list_secrets|shared_?key|password", outputs, re.IGNORECASE)


def test_keys_and_passwords_are_off():
    accounts = [c for kind, _, c in resources("storage.bicep") if kind.endswith("storageAccounts")]
    assert [account["properties"]["allowSharedKeyAccess"] for account in accounts] == [False, False]
    [bus] = [c for kind, _, c in resources("messaging.bicep") if kind.endswith("namespaces")]
    assert bus["properties"]["disableLocalAuth"] is True
    [server] = [c for kind, _, c in resources("database.bicep") if kind.endswith("flexibleServers")]
    assert server["properties"]["authConfig"]["passwordAuth"] == "Disabled"


def test_what_tasks_leave_for_others_is_deleted():
    [policy] = [c for k, _, c in resources("storage.bicep") if k.endswith("managementPolicies")]
    [rule] = policy["properties"]["policy"]["rules"]
    silver = Settings.model_fields["silver_container"].default
    prefixes = rule["definition"]["filters"]["prefixMatch"]
    assert prefixes == [f"{silver}/{WINDOWS}", f"{silver}/{PIECES}"]


def test_queues_are_those_of_the_local_broker():
    """The product's promises were tested with these limits."""
    [queue] = [
        c["properties"] for kind, _, c in resources("messaging.bicep") if kind.endswith("queues")
    ]
    assert queue["maxDeliveryCount"] == 10
    assert queue["requiresDuplicateDetection"] is False
    names = parsed("messaging.bicep")["variables"]["queueNames"]["value"]
    defaults = [
        Settings.model_fields[f"{kind}_queue"].default for kind in ("jobs", "tasks", "quick_tasks")
    ]
    assert names == defaults


def test_extensions_are_those_that_the_migration_creates():
    from infrastructure.pgstac_schema import EXTENSIONS

    [allowed] = [
        c["properties"] for k, _, c in resources("database.bicep") if k.endswith("configurations")
    ]
    assert {name.lower() for name in allowed["value"].split(",")} == set(EXTENSIONS)


def test_alerts_and_charts_use_metrics_that_the_product_reports():
    reported = (ROOT / "infrastructure" / "open_telemetry.py").read_text()
    shown = (INFRA / "alerts.bicep").read_text() + (INFRA / "workbook.json").read_text()
    used = set(re.findall(r"geolathe\.([a-z_.]+)", shown))
    assert len(used) == 9
    missing = {name for name in used if not re.search(rf'["}}.]{re.escape(name)}"', reported)}
    assert missing == set()
