"""azure.yaml and the hooks fit the Bicep files."""

import json
import re
from pathlib import Path

import yaml

from tests.unit.test_infra import parsed, resources

ROOT = Path(__file__).parents[2]


def test_every_service_has_a_resource_to_deploy_to():
    """azd finds the resource of a service by its tag."""
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    tagged = {
        config["tags"]["function"]["parameters"]["arg_2"]["'azd-service-name'"]
        for name in ("functions.bicep", "containers.bicep")
        for _, _, config in resources(name)
        if "azd-service-name" in json.dumps(config.get("tags"))
    }
    assert tagged == services.keys()


def test_images_are_built_from_files_that_exist():
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    for service in services.values():
        folder = ROOT / service["project"]
        assert folder.is_dir()
        if "docker" in service:
            assert (folder / service["docker"]["path"]).is_file()
            assert (folder / service["docker"]["context"]).resolve() == ROOT


def test_hooks_read_outputs_of_the_deployment():
    """azd puts the outputs of main.bicep into the environment of the hooks."""
    text = (ROOT / "infra" / "hooks" / "database.py").read_text()
    names = set(re.findall(r'environ\[[\'"]([A-Z_]+)[\'"]\]', text))
    assert names and names <= parsed("main.bicep")["outputs"].keys()


def test_hook_of_azd_is_an_executable_file():
    [hook] = yaml.safe_load((ROOT / "azure.yaml").read_text())["hooks"].values()
    path = ROOT / hook["run"]
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/bin/sh\n")


def test_commands_in_the_guide_use_variables_that_exist():
    guide = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    text = (ROOT / "infra" / "main.parameters.json").read_text()
    assert set(re.findall(r"azd env set ([A-Z_]+)", guide)) <= set(
        re.findall(r"\$\{([A-Z_]+)", text)
    )
    used = set(re.findall(r"\$\{?([A-Z]+_[A-Z_]+)", guide)) - {"GEOLATHE_URL", "GEOLATHE_KEY"}
    assert used <= parsed("main.bicep")["outputs"].keys()
