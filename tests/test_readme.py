"""What README tells people to type exists: commands, flags, files, and the names under which weights are looked for."""

import re
from pathlib import Path

import pytest

from configs.segmentation import get_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "third_party_weights" / "README.md", *(ROOT / "docs").glob("*.md")]
COMMANDS = [
    line.split("#")[0].replace("\\", " ")
    for document in DOCUMENTS
    for line in re.findall(r"python -m launch\.(?:[^\n]|\\\n)*", document.read_text())
]


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_exist(command):
    module = re.search(r"launch\.(\w+)", command).group(1)
    source = (ROOT / "launch" / f"{module}.py").read_text()
    flags = set(re.findall(r"--(?:no)?(\w+)", command))
    unknown = {
        flag for flag in flags if f'"{flag}"' not in source and not (flag == "config" and "define_config" in source)
    }
    assert not unknown


@pytest.mark.parametrize(("init", "model"), [("segmentation", "fcn_resnet101"), ("classification", "resnet101")])
def test_weights_are_looked_for_where_they_are_put(init, model):
    init_from = get_config(f"init={init}").init_from
    outputs = [c for c in COMMANDS if "launch.convert" in c and f"--model={model}" in c]
    assert any(f"--output={init_from}" in command for command in outputs)


def test_linked_files_are_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_readme_stays_short():
    assert len(README.splitlines()) <= 150
