"""Asks Numba's compilers for PTX. No driver is needed: where they insist on a device, they are shown one."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import re
import sys
import types as python_types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import CompileError, CompilerMissing
from .targets import Target


def numba_cuda() -> Any:
    """The module `numba.cuda`, with a compiler in it.

    Raises:
        CompilerMissing: it is not installed, or Numba runs as simulator.
    """
    try:
        from numba import cuda
    except ImportError as error:
        raise CompilerMissing(_missing()) from error
    if not hasattr(cuda, "compile_ptx") or (getattr(cuda, "simulator", None) is not None and _simulating()):
        raise CompilerMissing(
            "Numba runs in simulator mode (NUMBA_ENABLE_CUDASIM=1), which has no compiler; unset the "
            "variable to emulate"
        )
    return cuda


def _simulating() -> bool:
    from numba import config

    return bool(getattr(config, "ENABLE_CUDASIM", 0))


def _missing() -> str:
    way = 'pip install "numba-cuda[cu13]" (or [cu12]) installs it'
    if sys.platform == "darwin":
        way = (
            "NVIDIA publishes no compiler for macOS: use a Linux container (docker run -it python:3.12, then "
            'pip install "numba-cuda[cu13]") or a Colab notebook'
        )
    return f"Numba's CUDA compiler is missing: {way}"


@contextlib.contextmanager
def pretend_device(target: Target) -> Iterator[None]:
    """Let parts of numba-cuda that ask for the current device see one of the target's capability."""
    device = python_types.SimpleNamespace(compute_capability=target.capability, name=b"emulated")
    patched = []
    for name in ("numba.cuda.dispatcher", "numba.cuda.compiler", "numba.cuda.codegen"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module, "get_current_device"):
            patched.append((module, module.get_current_device))
            module.get_current_device = lambda: device  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, original in patched:
            module.get_current_device = original  # type: ignore[attr-defined]


def _compile_mlir(function: Any, signature: tuple[Any, ...], target: Target, options: dict[str, Any]) -> str:
    """The same through numba-cuda-mlir, which asks for the device's capability even where it is given."""
    tools = importlib.import_module("numba_cuda_mlir.tools")
    cuda = importlib.import_module("numba_cuda_mlir.cuda")
    original = tools.get_gpu_compute_capability
    tools.get_gpu_compute_capability = lambda as_type=str: (  # type: ignore[attr-defined]
        target.capability if as_type is tuple else target.name
    )
    try:
        text, _ = cuda.compile_ptx(
            function, signature, cc=target.capability, lineinfo=True, fastmath=bool(options.get("fastmath"))
        )
    finally:
        tools.get_gpu_compute_capability = original  # type: ignore[attr-defined]
    return text


def compile_ptx(
    function: Any, signature: tuple[Any, ...], target: Target, options: dict[str, Any], mlir: bool = False
) -> str:
    """PTX of a kernel, with line numbers, for a target; no driver and no device needed."""
    if mlir:
        return _compile_mlir(function, signature, target, options)
    cuda = numba_cuda()
    accepted = inspect.signature(cuda.compile_ptx).parameters
    known = {k: options[k] for k in COMPILER_OPTIONS if k in accepted and options.get(k) is not None}
    if known.get("debug"):
        known.setdefault("opt", False)  # the compiler takes only one of the two
    with (
        pretend_device(target), _watch_compiler() as seen, _lines_of_device_functions(), _lines_only(),
        warnings.catch_warnings(),
    ):  # fmt: skip
        # Code that Numba makes up itself (ufuncs) has no source to take line numbers from.
        warnings.filterwarnings("ignore", message=".*Could not find source for function", category=Warning)
        try:
            text, _ = cuda.compile_ptx(
                function, signature, cc=target.capability, lineinfo=not known.get("debug"), **known
            )
        except ImportError as error:
            raise CompilerMissing(_missing()) from error
        except Exception as error:
            if type(error).__name__ == "NvvmSupportError" or (
                "libNVVM" in str(error) and "not found" in str(error)
            ):
                raise CompilerMissing(_missing()) from error
            refused = any(c.__name__ == "NumbaError" for c in type(error).__mro__)
            if refused or "must have void return type" in str(error):
                names = function.__code__.co_varnames
                given = ", ".join(f"{name}: {kind}" for name, kind in zip(names, signature, strict=False))
                raise CompileError(f"{function.__name__}({given}) does not compile:\n{error}") from error
            if "multiple PTX files" not in str(error) or not seen.libraries:
                raise
            # With debug=True device functions become texts of their own, for a linker to join.
            text = _joined(seen.libraries[-1].get_asm_strs(cc=target.capability))
    if known.get("debug"):
        text += "".join(f"\n{RAISES} {json.dumps([*key, *said])}" for key, said in seen.exceptions.items())
    used = ((symbol, name) for symbol, name in seen.shared.items() if symbol in text)
    return text + "".join(f"\n{SHARED} {json.dumps(pair)}" for pair in used)


# Options of a dispatcher that change the PTX.
COMPILER_OPTIONS = ("fastmath", "opt", "launch_bounds", "debug")
# Those that do not, or that the emulator sets itself.
OTHER_OPTIONS = (
    "lineinfo", "device", "inline", "forceinline", "link", "cache", "lto", "max_registers", "extensions",
    "shared_memory_carveout", "nopython", "abi", "abi_info", "output",
)  # fmt: skip

# Comments after the PTX: the exceptions that its numbers stand for, and the Python names of its shared arrays, so
# that they are cached with it.
RAISES = "// numba raises"
SHARED = "// numba shared"


@contextlib.contextmanager
def _lines_only() -> Iterator[None]:
    """Keep from libNVVM where variables live, and tell it only what line an instruction is from.

    Given both, it now and then refuses a kernel that it takes without ("Symbol name with unsupported characters",
    seen with numba-cuda 0.30.4 and CUDA 13.0); and nobody here asks for variables.
    """
    try:
        nvvm = importlib.import_module("numba.cuda.cudadrv.nvvm")
        original = nvvm.compile_ir
    except (ImportError, AttributeError):
        yield
        return

    def without_variables(ir: Any, **options: Any) -> Any:
        texts = [ir] if isinstance(ir, (str, bytes)) else ir
        plain = [text.decode() if isinstance(text, bytes) else text for text in texts]
        return original([_VARIABLES.sub("", text) for text in plain], **options)

    nvvm.compile_ir = without_variables  # type: ignore[attr-defined]
    try:
        yield
    finally:
        nvvm.compile_ir = original  # type: ignore[attr-defined]


_VARIABLES = re.compile(r'^\s*call void @"?llvm\.dbg\.(?:value|declare)"?\(.*$', re.MULTILINE)


@dataclass
class _Seen:
    """What Numba keeps beside the code, where `compile_ptx` does not hand it out."""

    # (PTX name of the function, number) -> (Python name, exception and its message, file, line)
    exceptions: dict[tuple[str, int], tuple[str, str, str, int]] = field(default_factory=dict)
    libraries: list[Any] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)  # symbol of a shared array -> the Python variable


@contextlib.contextmanager
def _watch_compiler() -> Iterator[_Seen]:
    """Take note of what is compiled meanwhile."""
    seen = _Seen()
    try:
        modules = [importlib.import_module(f"numba.cuda.{name}") for name in ("compiler", "dispatcher")]
        original = modules[0].compile_cuda
    except (ImportError, AttributeError):
        yield seen  # then exceptions are known by number only
        return

    def watched(function: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(function, *args, **kwargs)
        seen.libraries.append(result.library)
        known = getattr(getattr(result, "call_helper", None), "exceptions", {})
        for number, (kind, values, place) in known.items():
            message = ", ".join(map(str, values or ()))
            name = getattr(kind, "__name__", None) or "an exception"
            said = f"{name}: {message}" if message else name
            _, file, line = place or ("", "", 0)
            seen.exceptions[result.fndesc.mangled_name, int(number)] = function.__name__, said, file, line
        return result

    for module in modules:
        module.compile_cuda = watched  # type: ignore[attr-defined]
    try:
        with _shared_names(seen):
            yield seen
    finally:
        for module in modules:
            module.compile_cuda = original  # type: ignore[attr-defined]


@contextlib.contextmanager
def _shared_names(seen: _Seen) -> Iterator[None]:
    """Take note of which variable each shared array is assigned to, when Numba makes up its symbol."""
    try:
        module = importlib.import_module("numba.cuda.cudaimpl")
        original = module._get_unique_smem_id
    except (ImportError, AttributeError):
        yield  # then arrays go by their symbols
        return

    def watched(name: str) -> str:
        symbol: str = original(name)
        variable = _variable_being_lowered()
        if variable:
            seen.shared[symbol] = variable
        return symbol

    module._get_unique_smem_id = watched  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module._get_unique_smem_id = original  # type: ignore[attr-defined]


def _variable_being_lowered() -> str:
    """The variable that takes the result of the call Numba translates right now, "" if there is none.

    A call's result goes to a temporary, `$12call`, which the next statements of the block hand on to the variable.
    """
    frame = sys._getframe()
    instruction = block = None
    while frame is not None and block is None:
        if frame.f_code.co_name == "lower_inst" and instruction is None:
            instruction = frame.f_locals.get("inst")
        if frame.f_code.co_name == "lower_block" and instruction is not None:
            block = frame.f_locals.get("block")
        frame = frame.f_back  # type: ignore[assignment]
    names = {getattr(getattr(instruction, "target", None), "name", "")}
    for statement in getattr(block, "body", ()):
        value = getattr(statement, "value", None)
        if type(value).__name__ == "Var" and value.name in names:  # type: ignore[union-attr]
            names.add(statement.target.name)
    plain = sorted(name.split(".")[0] for name in names if name and not name.startswith("$"))
    return plain[0] if plain else ""


@contextlib.contextmanager
def _lines_of_device_functions() -> Iterator[None]:
    """Meanwhile compile every device function that is called anew, with line numbers; then forget that.

    Without `lineinfo=True` at its own decorator all of a device function counts for the line that calls it.
    """
    try:
        dispatcher = importlib.import_module("numba.cuda.dispatcher").CUDADispatcher
        original = dispatcher.get_call_template
    except (ImportError, AttributeError):
        yield
        return
    before: dict[int, tuple[Any, Any, Any]] = {}

    def get_call_template(self: Any, args: Any, kws: Any) -> Any:
        if id(self) not in before:
            before[id(self)] = self, self.overloads, self.targetoptions
            self.overloads = type(self.overloads)()
            self.targetoptions = {**self.targetoptions, "lineinfo": not self.targetoptions.get("debug")}
            if not self._can_compile:  # declared with signatures: these, and no others
                for types, result in before[id(self)][1].items():
                    self.compile_device(types, result.signature.return_type)
        return original(self, args, kws)

    dispatcher.get_call_template = get_call_template
    try:
        yield
    finally:
        dispatcher.get_call_template = original
        for known, overloads, options in before.values():
            known.overloads, known.targetoptions = overloads, options


def _joined(texts: list[str]) -> str:
    """Several PTX texts as one, their file numbers made distinct."""
    out = []
    offset = 0
    for text in texts:
        numbers = [int(n) for n in re.findall(r"^\s*\.file\s+(\d+)", text, re.M)]
        shift = lambda m, by=offset: f"{m[1]}{int(m[2]) + by}"  # noqa: E731
        out.append(re.sub(r"(\.file\s+|\.loc\s+|inlined_at\s+)(\d+)", shift, text))
        offset += max(numbers, default=0)
    return "\n".join(out)
