"""Reads PTX text into functions, instructions and symbols; decides nothing about what they mean.

Only the grammar is here. The reader knows the shapes that Numba's compilers and inline assembly produce:
directives, labels, guarded instructions, nested register scopes, vector operands in braces and calls over
several lines. Everything carries the PTX line it came from, and every instruction the Python line that
`.loc` gives it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from .errors import PtxError

# PTX register and memory types -> NumPy dtype letters. Untyped bits (.b32) are read as signed integers.
SIZES = {
    "pred": 1, "b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4,
    "u32": 4,
    "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "tf32": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8,
    "b128": 16,
}  # fmt: skip


@dataclass(slots=True)
class Instruction:
    """One PTX instruction: `@guard opcode args;`."""

    opcode: str
    args: list[str]
    guard: str | None  # register name, "!" in front when negated
    line: int  # Python line, 0 when unknown
    file: int  # index into Module.files
    ptx_line: int
    ptx_column: int = 0
    parts: list[str] = field(default_factory=list)  # opcode split at the dots
    index: int = -1  # position in the kernel, set once functions are inlined

    def __post_init__(self) -> None:
        self.parts = self.opcode.split(".")

    @property
    def place(self) -> str:
        """Where it stands in the text."""
        return f"PTX line {self.ptx_line}, column {self.ptx_column}"

    @property
    def where(self) -> str:
        """Where it stands, and the Python line it was made from if the text tells."""
        return f"Python line {self.line}, {self.place}" if self.line else self.place

    def becomes(self, opcode: str, args: list[str], guard: str | None = None) -> Instruction:
        """Another instruction at the same place."""
        return Instruction(opcode, args, guard, self.line, self.file, self.ptx_line, self.ptx_column)

    def __str__(self) -> str:
        guard = f"@{self.guard} " if self.guard else ""
        return f"{guard}{self.opcode} {', '.join(self.args)};"


@dataclass(slots=True)
class Label:
    """A jump target inside a body."""

    name: str


@dataclass(slots=True)
class Variable:
    """A named piece of memory: shared, constant, global or local."""

    name: str
    space: str
    align: int
    size: int  # bytes; 0 for dynamic shared memory
    data: bytes | None = None
    symbols: list[tuple[int, str]] = field(
        default_factory=list
    )  # (byte offset, symbol whose address is stored there)


@dataclass
class Function:
    """An entry or a device function: parameters in order, registers, and the body as a list."""

    name: str
    is_entry: bool
    params: list[tuple[str, str]]  # (name, PTX type), in order
    returns: list[tuple[str, str]]
    registers: dict[str, str]  # name -> PTX type
    locals: list[Variable]
    body: list[Instruction | Label]
    tables: dict[str, list[str]] = field(default_factory=dict)  # brx.idx branch targets
    max_threads: int | None = None
    ranges: dict[str, int] = field(default_factory=dict)  # "%r" -> 5 after `.reg .b32 %r<5>;`
    handed_over: set[str] = field(default_factory=set)  # parameters declared in the body, for calls
    undefined: set[str] = field(default_factory=set)  # registers that the compiler says it leaves open


@dataclass
class Module:
    """All that a PTX text defines."""

    functions: dict[str, Function]
    externs: set[str]
    variables: dict[str, Variable]
    files: dict[int, str]
    target: str
    source: Source

    @property
    def entries(self) -> list[Function]:
        """The kernels, in the order of the text."""
        return [f for f in self.functions.values() if f.is_entry]


_HEAD = re.compile(r"(?:^|\n)[ \t]*((?:\.(?:visible|weak|extern|common)\s+)*\.(entry|func)\b)")
_STATEMENT = re.compile(
    r"\s*(?:(?P<loc>\.loc\s+(\d+)\s+(\d+)[^\n]*?(?:inlined_at\s+(\d+)\s+(\d+)[^\n]*)?)(?=\n)"
    r"|(?P<brace>[{}])"
    r"|(?P<label>[$%\w.]+):(?!:)"
    r"|(?P<text>[^;{}]*(?:\{[^{}]*\}[^;{}]*)*);)"
)
_VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak|common)\s+)*\.(?P<space>global|const|shared|local)\s+(?:\.attribute\([^)]*\)\s*)?"
    r"(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+(?P<name>[\w$%]+)(?P<dims>(?:\s*\[\s*\d*\s*\])*)"
    r"(?:\s*=\s*(?P<init>\{[^}]*\}|[^;]+))?\s*;?\s*$",
    re.S,
)
_PARAM = re.compile(
    r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+"
    r"(?:\.ptr\S*\s+(?:\.(?!align)\w+\s+)*(?:\.align\s+\d+\s+)?)?([\w$%]+)(?:\s*\[(\d+)\])?"
)


class Source:
    """The PTX text with comments blanked (so that positions stay true) and a way to name a position."""

    def __init__(self, text: str) -> None:
        self.text = text
        blank = lambda m: re.sub(r"[^\n]", " ", m[0])  # noqa: E731
        self.clean = re.sub(r"//[^\n]*|/\*.*?\*/", blank, text, flags=re.S)
        self.starts = [0] + [m.end() for m in re.finditer("\n", self.clean)]

    def line(self, position: int) -> int:
        """Number of the line that a position is in, from 1."""
        return bisect_right(self.starts, position)

    def column(self, position: int) -> int:
        """Place of a position in its line, from 1."""
        return position - self.starts[self.line(position) - 1] + 1

    def wrong(self, instruction: Instruction, word: str, why: str, nth: int = 0) -> PtxError:
        """The error for the nth appearance of a word in an instruction, or for all of the instruction."""
        start = self.starts[instruction.ptx_line - 1] + instruction.ptx_column - 1
        end = self.clean.find(";", start)
        places = [start]
        if word:
            pattern = re.compile(rf"(?<![\w$%.]){re.escape(word)}(?![\w$])")
            places = [m.start() for m in pattern.finditer(self.clean, start, end)] or places
        return self.error(places[min(nth, len(places) - 1)], why)

    def error(self, position: int, why: str) -> PtxError:
        """The error for a position, with the text that stands there."""
        while position < len(self.clean) and self.clean[position].isspace():
            position += 1
        line, column = self.line(position), self.column(position)
        shown = self.clean[position : position + 60].split("\n")[0].strip()
        return PtxError(f"PTX line {line}, column {column}: {why} near {shown!r}")


def parse(text: str) -> Module:
    """Read a whole PTX text.

    Args:
        text: what `cuda.compile_ptx` returns, or any PTX 6.0 or later.

    Raises:
        PtxError: the text does not parse; the message names line and column.
    """
    if ".version" not in text:
        raise PtxError("PTX line 1, column 1: not PTX, no .version directive")
    source = Source(text)
    clean = source.clean
    target = re.search(r"\.target\s+(\w+)", clean)
    module = Module({}, set(), {}, {}, target[1] if target else "sm_52", source)
    for m in re.finditer(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', text, re.M):
        module.files[int(m[1])] = m[2]
    position = 0
    while True:
        head = _HEAD.search(clean, position)
        _only_closed(source, position, head.start() if head else len(clean))
        _variables(clean[position : head.start() if head else len(clean)], module)
        if head is None:
            break
        # A declaration ends with ";" before any "{"; a definition opens its body.
        opening, semicolon = clean.find("{", head.end()), clean.find(";", head.end())
        if opening < 0 and semicolon < 0:
            raise source.error(head.end(), "function without a body")
        if opening < 0 or (0 <= semicolon < opening):
            name = _function_name(clean[head.end(1) : semicolon])
            if name not in module.functions:
                module.externs.add(name)
            position = semicolon + 1
            continue
        header = clean[head.end(1) : opening]
        function = _header(header, head[2] == "entry", source, head.end(1))
        position = _body(source, opening + 1, function)
        function.undefined = set(re.findall(r"//\s*implicit-def:\s*(\S+)", text[opening:position]))
        module.functions[function.name] = function
        module.externs.discard(function.name)
    if not module.functions:
        raise PtxError("PTX line 1, column 1: no .entry: the text defines no kernel")
    return module


def _only_closed(source: Source, start: int, end: int) -> None:
    """Between functions every brace that closes must have opened there (sections, values of variables)."""
    depth = 0
    for m in re.finditer(r"[{}]", source.clean[start:end]):
        depth += 1 if m[0] == "{" else -1
        if depth < 0:
            raise source.error(start + m.start(), "a brace closes that has not opened")


def _function_name(header: str) -> str:
    m = re.match(r"\s*(?:\([^)]*\)\s*)?([\w$%]+)", header)
    return m[1] if m else ""


def _header(header: str, is_entry: bool, source: Source, position: int) -> Function:
    m = re.match(r"\s*(\([^)]*\))?\s*([\w$%]+)\s*(\((?:[^()]|\([^()]*\))*\))?", header)
    if not m:
        raise source.error(position, "cannot read the function header")
    read = lambda s: [(p[2], p[1] if p[3] is None else f"b8[{p[3]}]") for p in _PARAM.finditer(s or "")]  # noqa: E731
    limit = re.search(r"\.maxntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?", header)
    function = Function(m[2], is_entry, read(m[3]), read(m[1]), {}, [], [])
    if limit:
        function.max_threads = int(limit[1]) * int(limit[2] or 1) * int(limit[3] or 1)
    return function


def _variables(text: str, module: Module) -> None:
    """Module-level variables; every other directive between functions is of no interest here."""
    text = re.sub(r"\.section\s+\S+\s*\{.*?\}", "", text, flags=re.S)
    for statement in re.findall(r"(?:\.(?:visible|extern|weak|common)\s+)*\.(?:global|const|shared)\b[^;]*;", text):
        variable = _variable(statement.strip())
        if variable is not None:
            module.variables[variable.name] = variable


def _variable(statement: str) -> Variable | None:
    m = _VARIABLE.match(statement)
    if not m:
        return None
    item = SIZES.get(m["type"], 1)
    dims = [int(d or 0) for d in re.findall(r"\[\s*(\d*)\s*\]", m["dims"])]
    count = 1
    for d in dims:
        count *= d
    size = item * count
    variable = Variable(m["name"], m["space"], int(m["align"] or item), size)
    if m["init"]:
        values = [v.strip() for v in m["init"].strip().strip("{}").split(",") if v.strip()]
        data = bytearray()
        for value in values:
            if re.match(r"[A-Za-z_$%]", value):
                symbol = re.sub(r"^generic\((.*)\)$", r"\1", value)
                variable.symbols.append((len(data), symbol))
                data += bytes(item)
            elif value[:2] in ("0f", "0F", "0d", "0D"):
                data += int(value[2:], 16).to_bytes(item, "little")
            else:
                data += (int(value.rstrip("U"), 0) & ((1 << 8 * item) - 1)).to_bytes(item, "little")
        variable.data = bytes(data.ljust(size, b"\0"))
    return variable


def split_operands(text: str) -> list[str]:
    """Split at commas that are outside braces, brackets and parentheses."""
    out, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "{[(":
            depth += 1
        elif c in "}])":
            depth -= 1
        elif c == "," and depth == 0:
            out.append(text[start:i].strip())
            start = i + 1
    tail = text[start:].strip()
    if tail:
        out.append(tail)
    return out


class _Scopes:
    """Names declared inside `{ ... }` (inline assembly does that) are made unique to the scope."""

    def __init__(self) -> None:
        self.stack: list[dict[str, str]] = [{}]
        self.count = 0

    def push(self) -> None:
        self.stack.append({})
        self.count += 1

    def pop(self) -> None:
        self.stack.pop()

    def declare(self, name: str) -> str:
        unique = name if len(self.stack) == 1 else f"{name}@{self.count}"
        self.stack[-1][name] = unique
        return unique

    def rename(self, text: str) -> str:
        inner = {k: v for scope in self.stack[1:] for k, v in scope.items()}
        if not inner:
            return text
        return re.sub(r"%?[A-Za-z_$][\w$]*", lambda m: inner.get(m[0], m[0]), text)


def _body(source: Source, position: int, function: Function) -> int:
    """Read statements until the brace that closes the function; returns the position after it."""
    clean, depth = source.clean, 0
    line, file = 0, 1
    scopes = _Scopes()
    opened: list[int] = []  # index in the body where each nested scope began, for its labels
    while True:
        m = _STATEMENT.match(clean, position)
        if not m:
            raise source.error(position, "cannot read this statement")
        start, position = m.start(), m.end()
        if m["loc"]:
            # Line 0 marks compiler-made code: it belongs to what came before.
            if int(m[3]):
                line, file = int(m[3]), int(m[2])
            if m[4] and int(m[5]):
                line, file = _visible_line(line, file, int(m[5]), int(m[4]), source)
            continue
        if m["brace"] == "{":
            depth += 1
            scopes.push()
            opened.append(len(function.body))
            continue
        if m["brace"] == "}":
            if depth == 0:
                return position
            depth -= 1
            scopes.pop()
            _scope_labels(function, opened.pop(), scopes.count)
            continue
        if m["label"]:
            function.body.append(Label(m["label"]))
            continue
        text = " ".join(m["text"].split())
        if text:
            _statement(text, source, start, function, scopes, line, file)


_INTERNAL = re.compile(r"[\\/](?:numba_cuda(?:_mlir)?|numba)[\\/]")


def _visible_line(line: int, file: int, call_line: int, call_file: int, source: Source) -> tuple[int, int]:
    """Code inlined from inside Numba is shown at the line that called it."""
    names = getattr(source, "files", None)
    if names is None:
        names = source.files = {  # type: ignore[attr-defined]
            int(m[1]): m[2] for m in re.finditer(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', source.clean, re.M)
        }
    if _INTERNAL.search(names.get(file, "")):
        return call_line, call_file
    return line, file


def _scope_labels(function: Function, start: int, scope: int) -> None:
    """Labels inside a nested scope are local to it: two copies of one inline assembly may both say
    `again:`.
    """
    inside = {x.name for x in function.body[start:] if isinstance(x, Label) and not x.name.startswith("$")}
    if not inside:
        return
    for x in function.body[start:]:
        if isinstance(x, Label) and x.name in inside:
            x.name = f"{x.name}@{scope}"
        elif isinstance(x, Instruction) and x.parts[0] == "bra" and x.args[0] in inside:
            x.args[0] = f"{x.args[0]}@{scope}"


def _statement(
    text: str, source: Source, start: int, function: Function, scopes: _Scopes, line: int, file: int
) -> None:
    if text.startswith("."):
        if text.startswith(".reg"):
            for kind, names in re.findall(r"\.reg\s+(?:\.v\d\s+)?\.(\w+)\s+(.*)$", text):
                if kind not in SIZES:
                    raise source.error(start, f"unknown register type .{kind}")
                for name, count in re.findall(r"(%?[\w$]+)(?:<(\d+)>)?", names):
                    if count:
                        function.ranges[name] = int(count)
                        for i in range(int(count)):
                            function.registers[scopes.declare(f"{name}{i}")] = kind
                    else:
                        function.registers[scopes.declare(name)] = kind
        elif text.startswith((".local", ".shared")):
            variable = _variable(text)
            if variable is None:
                raise source.error(start, "cannot read this variable")
            function.locals.append(variable)
        elif text.startswith(".param"):
            p = _PARAM.match(text)
            if p is None:
                raise source.error(start, "cannot read this parameter")
            function.handed_over.add(scopes.declare(p[2]))
        elif text.startswith((".pragma", ".branchtargets", ".file", ".calltargets", ".callprototype", ".alias")):
            if text.startswith(".branchtargets"):
                previous = function.body.pop() if function.body else None
                if not isinstance(previous, Label):
                    raise source.error(start, "branch targets without a name")
                function.tables[previous.name] = split_operands(text[len(".branchtargets") :])
        else:
            raise source.error(start, "unknown directive")
        return
    m = re.match(r"(?:@(!?)\s*(%?[\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)$", text, re.S)
    if not m:
        raise source.error(start, "cannot read this instruction")
    guard = (m[1] or "") + scopes.rename(m[2]) if m[2] else None
    args = split_operands(scopes.rename(m[4]))
    start = _skip(source.clean, start)
    at = source.line(start), source.column(start)
    function.body.append(Instruction(m[3], args, guard, line, file, *at))


def _skip(text: str, position: int) -> int:
    while text[position].isspace():
        position += 1
    return position
