"""Runs the steps of action.yml as a runner of GitHub Actions does: bash, files and environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from expressions import filled, is_met
from workflow_commands import Command, commands

REPOSITORY = "team/models"
KEPT = re.compile(r"PATH|HOME|LANG|TMPDIR|PIP_.*|.*_proxy|SSL_.*|REQUESTS_CA_BUNDLE", re.IGNORECASE)
"""What a job sees of the machine; nothing of the tests' own Python."""


@dataclass
class Outcome:
    """What a run of the action did."""

    steps: dict[str, str] = field(default_factory=dict)
    """success, failure or skipped, by the id or the action of a step."""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """What steps handed on, by id."""
    given: dict[str, dict[str, str]] = field(default_factory=dict)
    """The inputs of the actions that were used, by their names."""
    log: str = ""
    summary: str = ""

    @property
    def failed(self) -> bool:
        return "failure" in self.steps.values()

    @property
    def commands(self) -> list[Command]:
        return list(commands(self.log))

    def annotations(self, level: str = "error") -> list[Command]:
        return [command for command in self.commands if command.name == level]


@dataclass
class Runner:
    """A machine with a checkout in `workspace`, for one job."""

    action: Path
    workspace: Path
    temp: Path
    known: dict[str, dict[str, str]]
    """The outputs of steps that are not run, by id."""
    event_name: str = "push"
    event: dict[str, Any] = field(default_factory=dict)
    sha: str = ""

    def run(self, **inputs: str) -> Outcome:
        """Run all steps; inputs as under `with:`, with `_` for `-`."""
        manifest = yaml.safe_load((self.action / "action.yml").read_text("utf-8"))
        values = {name: one.get("default", "") for name, one in manifest["inputs"].items()}
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() <= values.keys()
        github = {"event_name": self.event_name, "event": self.event, "repository": REPOSITORY}
        steps: dict[str, Any] = {}
        contexts = {"inputs": values | given, "github": github, "steps": steps}
        outcome = Outcome()
        for number, step in enumerate(manifest["runs"]["steps"]):
            name = step.get("id") or step.get("uses", str(number)).partition("@")[0]
            result, outputs = self._step(step, name, contexts, outcome)
            outcome.steps[name] = result
            outcome.outputs[name] = outputs
            steps[name] = {"outcome": result, "outputs": outputs}
        return outcome

    def _step(
        self, step: dict[str, Any], name: str, contexts: dict[str, Any], outcome: Outcome
    ) -> tuple[str, dict[str, str]]:
        if not is_met(step.get("if"), contexts, outcome.failed):
            return "skipped", {}
        if name in self.known:
            return "success", self.known[name]
        if "uses" in step:
            outcome.given[name] = {k: filled(v, contexts) for k, v in step["with"].items()}
            return "success", {}
        return self._script(step, contexts, outcome)

    def _script(
        self, step: dict[str, Any], contexts: dict[str, Any], outcome: Outcome
    ) -> tuple[str, dict[str, str]]:
        files = {key: self.temp / f"_{key}" for key in ("output", "step_summary", "env", "path")}
        for file in files.values():
            file.write_text("")
        script = self.temp / "_script.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.workspace / filled(step.get("working-directory", "."), contexts),
            env={
                **self._environment(),
                **{f"GITHUB_{key.upper()}": str(file) for key, file in files.items()},
                **{key: filled(text, contexts) for key, text in step.get("env", {}).items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        outcome.log += done.stdout
        outcome.summary += files["step_summary"].read_text("utf-8")
        assert not files["env"].read_text() + files["path"].read_text(), "the job is left alone"
        lines = files["output"].read_text("utf-8").splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return ("failure" if done.returncode else "success"), outputs

    def _environment(self) -> dict[str, str]:
        payload = self.temp / "_event.json"
        payload.write_text(json.dumps(self.event))
        return {
            **{key: value for key, value in os.environ.items() if KEPT.fullmatch(key)},
            "CI": "true",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self.action),
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(payload),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SHA": self.sha,
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.temp),
        }
