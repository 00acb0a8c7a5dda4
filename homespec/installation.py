"""The command that installs an extra of homespec, for messages of all stages."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "homespec"
CHECKOUT = Path(__file__).parent.parent


def install_command(extra: str) -> str:
    """The pip command that adds an extra to this installation.

    homespec is not on a package index, so the command names the origin of the installation: a
    folder, a repository or an archive (PEP 610). If pip knows no origin, it names the packages of
    the extra.
    """
    origin = _origin()
    url = str(origin.get("url", ""))
    if "dir_info" in origin:
        folder = unquote(urlsplit(url).path)
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{folder}[{extra}]')}"
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if url:
        return f"pip install {shlex.quote(f'{NAME}[{extra}] @ {url}')}"
    return f"pip install {shlex.join(sorted(set(_packages(extra))))}"


def _origin() -> dict[str, Any]:
    """The origin that pip recorded; for a checkout that pip does not know, its folder."""
    try:
        text = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return {"url": CHECKOUT.as_uri(), "dir_info": {"editable": True}}
    return dict(json.loads(text)) if text else {}


def _packages(extra: str) -> Iterator[str]:
    """The packages of an extra, including those of extras that it contains."""
    for line in metadata.requires(NAME) or ():
        package, _, condition = line.partition(";")
        if f"extra == '{extra}'" not in condition.replace('"', "'"):
            continue
        inner = package.strip().removeprefix(f"{NAME}[")
        if inner == package.strip():
            yield inner
        else:
            yield from _packages(inner.removesuffix("]"))
