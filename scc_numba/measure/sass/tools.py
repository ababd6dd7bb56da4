"""NVIDIA's assembler and disassembler, from pip's wheels alone: one on the PATH may be older than the compiler."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

# The tools are NVIDIA's own programs; each comes in a wheel of its own, for Linux and Windows.
WHEELS = {"ptxas": "nvidia-cuda-nvcc", "nvdisasm": "nvidia-cuda-nvdisasm"}
INSTALL = "pip install 'scc_numba[sass]'"


class NoTools(RuntimeError):
    """A tool is not installed. Says which, and how to install it."""


class ToolFailed(ValueError):
    """A tool refused its input. Says why, in the tool's own words.

    Attributes:
        said: what it wrote.
    """

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


@dataclass(frozen=True)
class Tool:
    """A program of a wheel.

    Attributes:
        name: "ptxas" or "nvdisasm".
        path: where it is.
        version: of its wheel.
    """

    name: str
    path: Path
    version: str

    def run(self, *arguments: str | Path) -> tuple[str, str]:
        """Its standard output and its standard error.

        Raises:
            ToolFailed: it ended with an error.
        """
        ran = subprocess.run([self.path, *arguments], capture_output=True, text=True)
        if ran.returncode:
            said = (ran.stderr + ran.stdout).strip()
            lines = [line for line in said.splitlines() if "error" in line or "fatal" in line] or said.splitlines()
            told = "; ".join(" ".join(line.split()) for line in lines[:3])
            told = told or f"it ended with {ran.returncode} and no word"
            raise ToolFailed(f"{self.name} {self.version} failed: {told}", said)
        return ran.stdout, ran.stderr


@functools.cache
def find_tool(name: str) -> Tool:
    """The tool of that name.

    Raises:
        NoTools: its wheel is not installed.
    """
    wheel = WHEELS[name]
    try:
        found = distribution(wheel)
    except PackageNotFoundError:
        raise NoTools(
            f"{name} is not installed: it comes with the wheel {wheel} (Linux and Windows); "
            f"{INSTALL}. One on the PATH is not used: it may be older than the PTX"
        ) from None
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        if path.stem == name and path.suffix in ("", ".exe") and path.is_file():
            return Tool(name, path.resolve(), found.version)
    raise NoTools(f"the wheel {wheel} {found.version} holds no {name}; reinstall it: {INSTALL} --force-reinstall")


def missing() -> str | None:
    """Why SASS cannot be had here, or None if it can."""
    try:
        for name in WHEELS:
            find_tool(name)
    except NoTools as error:
        return str(error)
    return None


def versions() -> dict[str, str]:
    """The version of each tool."""
    return {name: find_tool(name).version for name in WHEELS}
