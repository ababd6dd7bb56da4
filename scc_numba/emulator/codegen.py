"""Turns a kernel into Python: one function per basic block, one line or so per instruction.

A register is a local variable inside a block; those that live across blocks are kept in a list `R` and
merged under the mask when the block ends. Two passes write the code: the first one learns which NumPy type
suits each register best (PTX registers are only sized bits), the second one writes for good, so that few
values need reinterpreting.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from . import values
from .access import ATOMIC, LOAD, STORE
from .control_flow import basic_blocks, live_in, loop_aware_order
from .errors import EmulatorError, PtxError, UnsupportedInstruction
from .inline import Flat, inline
from .program import CONST_WINDOW, LOCAL_WINDOW, SHARED_WINDOW, Access, Program
from .provenance import named_in, pointer_sources, registers_in
from .ptx import SIZES, Function, Instruction, Module
from .reaching import reads_of_nothing

# PTX types -> NumPy. Untyped bits count as signed integers.
DTYPES = {
    "pred": "b1", "b8": "i1", "s8": "i1", "u8": "u1", "b16": "i2", "s16": "i2", "u16": "u2", "b32": "i4",
    "s32": "i4",
    "u32": "u4", "b64": "i8", "s64": "i8", "u64": "u8", "f16": "f2", "f32": "f4", "f64": "f8", "bf16": "u2",
    "f16x2": "u4", "bf16x2": "u4", "tf32": "u4",
}  # fmt: skip

Emitter = Callable[["Writer", Instruction], None]
EMITTERS: dict[str, Emitter] = {}

# Opcodes with an effect besides their result: they stay even if nobody reads it.
_EFFECTS = {
    "st", "red", "atom", "bra", "brx", "ret", "exit", "trap", "bar", "barrier", "call", "cp", "membar",
    "fence",
    "nanosleep", "ld", "vote", "shfl", "match", "mma", "brkpt", "prefetch", "prefetchu", "discard", "redux",
    "ldmatrix",
    "activemask", "applypriority", "createpolicy", "griddepcontrol", "numba_status", "numba_raised",
}  # fmt: skip
_NO_RESULT = {
    "st", "red", "bra", "brx", "ret", "exit", "trap", "membar", "fence", "nanosleep", "cp", "prefetch",
    "prefetchu",
    "discard", "brkpt", "applypriority", "griddepcontrol", "numba_status", "numba_raised",
}  # fmt: skip


_WIDE_SPECIAL = {"gridid"}
_CLOCKS = {
    "clock": ("i4", 0),
    "clock_hi": ("i4", 32),
    "clock64": ("i8", 0),
    "globaltimer": ("i8", 0),
}  # type, shift


def emits(*opcodes: str) -> Callable[[Emitter], Emitter]:
    """Register the function that writes code for some opcodes."""

    def register(function: Emitter) -> Emitter:
        for opcode in opcodes:
            EMITTERS[opcode] = function
        return function

    return register


# The condition code's carry, followed like a register; no PTX name has a space in it.
CARRY = "carry flag"
_TAKES_CARRY = ("addc", "subc", "madc")


def operands(i: Instruction, registers: dict[str, str]) -> tuple[list[str], list[str]]:
    """Registers that an instruction writes and reads, the carry flag among them."""
    op = i.parts[0]
    written: list[str] = []
    read: list[str] = []
    if op == "call":  # call.extern name, result, arguments...
        first, results = 2, [i.args[1]] if i.args[1] != "_" else []
    elif op in _NO_RESULT or (op in ("bar", "barrier") and "red" not in i.parts):
        first, results = 0, []
    else:
        first, results = 1, re.split(r"[|]", i.args[0]) if i.args and "|" in i.args[0] else i.args[:1]
    for r in results:
        written += registers_in(r, registers)
    for a in i.args[first:]:
        read += registers_in(a.lstrip("!"), registers)
    if i.guard:
        read.append(i.guard.lstrip("!"))
    if "cc" in i.parts:
        written.append(CARRY)
    if op in _TAKES_CARRY:
        read.append(CARRY)
    return written, read


class Writer:
    """Writes the Python of one kernel; emitters call its methods."""

    def __init__(self, program: Program, flat: Flat, sources: dict[str, frozenset[int | str]]) -> None:
        self.program = program
        self.registers = flat.registers
        self.sources = sources
        self.votes: dict[str, Counter[str]] = defaultdict(Counter)
        self.kinds: dict[str, str] = {}
        self.deciding = True
        self.slots: dict[str, int] = {}
        self.read_somewhere: set[str] = set()
        self.names: dict[str, str] = {}
        self._reset()

    def _reset(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[tuple[str, int], str] = {}
        self.accesses: list[Access] = []
        self.temporaries = 0

    # ------------------------------------------------------------------------- what emitters use

    def fail(self, i: Instruction, why: str = "") -> UnsupportedInstruction:
        """The error for an instruction that the emulator does not know."""
        return UnsupportedInstruction(
            f"the emulator does not know the instruction `{i}` ({i.where}){': ' + why if why else ''}. "
            "It stops rather than compute something wrong."
        )

    def line(self, text: str) -> None:
        """One line of the block's function."""
        self.lines.append("    " + text)

    def temporary(self, expression: str) -> str:
        """Name an intermediate value."""
        self.temporaries += 1
        name = f"t{self.temporaries}"
        self.line(f"{name} = {expression}")
        return name

    def constant(self, kind: str, bits: int) -> str:
        """A literal, as the name of a NumPy scalar of that type."""
        key = (kind, bits)
        if key not in self.constants:
            self.constants[key] = f"C{len(self.constants)}"
        return self.constants[key]

    def integer_kind(self, token: str, size: int) -> str:
        """For operations that do not care about signs: the integer type the destination has anyway."""
        kind = self.kinds.get(token, "")
        return kind if kind[:1] in ("i", "u") and kind[1:] == str(size) else f"i{size}"

    def kind_of(self, token: str, default: str) -> str:
        """The type of a register, or the default for anything else and while it is still open."""
        return self.kinds.get(token, default)

    def source(self, token: str, kind: str, vote: bool = True) -> str:
        """An operand as an expression of NumPy type `kind`."""
        if token.startswith("!"):
            return f"(~{self.source(token[1:], kind, vote)})"
        if token in self.registers:
            if self.deciding:
                if vote:
                    self.votes[token][kind] += 1
                return self._variable(token)
            return _convert(self._read(token), self.kinds[token], kind)
        if token.startswith("%"):
            name = token[1:]
            if name in _CLOCKS:
                passed = self.current.index - self.block_start
                have, shift = _CLOCKS[name]
                return _convert(f"m.clock({passed}, {shift}, {have})", have, kind)
            return _convert(f'm.special("{name}")', "i8" if name in _WIDE_SPECIAL else "i4", kind)
        m = re.match(r"([A-Za-z_$][\w$~.]*)(?:\s*\+\s*(-?\d+))?$", token)
        if m and not re.match(r"0[fFdDxX]", token):
            return self._symbol(m[1], int(m[2] or 0), kind)
        return self.constant(kind, _literal(token, kind))

    def assign(self, token: str, expression: str, kind: str, vote: bool = True) -> None:
        """Give a register a value of NumPy type `kind`."""
        if token == "_":
            return
        if token not in self.registers:
            raise PtxError(f"{self.current.place}: {token!r} is not a register in {self.current}")
        name = self._variable(token)
        if self.deciding:
            if vote:
                self.votes[token][kind] += 1
            self.line(f"{name} = {expression}")
            return
        value = _convert(expression, kind, self.kinds[token])
        if self.guard:
            before = self._read(token) if token in self.slots or token in self.defined else "None"
            value = f"m.choose({self.guard}, {value}, {before})"
        self.line(f"{name} = {value}")
        self.defined.add(token)
        if token in self.slots and token not in self.changed:
            self.changed.append(token)

    def address(self, token: str) -> str:
        """A bracketed operand as an int64 address."""
        m = re.match(r"\[\s*([^+\]\s]+)\s*(?:\+\s*(-?\d+))?\s*\]$", token)
        if m is None:
            m = re.match(r"\[\s*([^\]]+?)\s*\+\s*(-?\d+)\s*\]$", token) or re.match(
                r"\[\s*([^\]]+?)()\s*\]$", token
            )
        if m is None:
            raise PtxError(f"{self.current.place}: cannot read the address {token!r}")
        base, offset = m[1], int(m[2] or 0)
        if base in self.registers:
            size = SIZES[self.registers[base]]
            if size == 4:  # a 32-bit address inside a window: unsigned
                e = f"{self.source(base, 'u4')}.astype(i8)"
            else:
                e = self.source(base, "i8")
            return f"{e} + {self.constant('i8', offset)}" if offset else e
        if re.match(r"-?\d", base):
            return self.constant("i8", int(base, 0) + offset)
        return self._symbol(base, offset, "i8")

    def base_register(self, token: str) -> str:
        """The register inside a bracketed operand, if there is one."""
        found = registers_in(token.strip("[] "), self.registers)
        return found[0] if found else ""

    def access(self, i: Instruction, space: str, mode: int, kind: str, count: int, address: str) -> str:
        """Describe a memory access; returns the name generated code uses for the description."""
        base = self.base_register(address)
        named = frozenset(named_in(address, self.program.shared))
        sources = self.sources.get(base, frozenset()) | named if base or named else frozenset()
        a = Access(len(self.accesses), i, space, mode, kind, count, sources)
        self.accesses.append(a)
        return f"A[{a.number}]"

    def mask(self) -> str:
        """The mask in force: the block's, narrowed by the instruction's guard."""
        return f"m.narrow(M, {self.guard})" if self.guard else "M"

    def wanted(self, token: str) -> bool:
        """Whether any instruction reads this register."""
        return token in self.read_somewhere

    # ------------------------------------------------------------------------- the machinery

    def _variable(self, token: str) -> str:
        if token not in self.names:
            self.names[token] = f"v{len(self.names)}"
        return self.names[token]

    def _read(self, token: str) -> str:
        name = self._variable(token)
        if token in self.slots and token not in self.loaded and token not in self.defined:
            self.line(f"{name} = R[{self.slots[token]}]")
            self.loaded.add(token)
        elif token not in self.slots and token not in self.defined:
            # Read before any write: PTX leaves the value open; zero, as most hardware would show.
            kind = self.kinds[token]
            self.line(f"{name} = {self.constant(kind, 0)}")
            self.defined.add(token)
        return name

    def _symbol(self, name: str, offset: int, kind: str) -> str:
        p = self.program
        if name in p.shared:
            address = SHARED_WINDOW + p.shared[name][0] + offset
        elif name in p.constant_at:
            address = CONST_WINDOW + p.constant_at[name] + offset
        elif name in self.local_at:
            address = LOCAL_WINDOW + self.local_at[name] + offset
        elif name in p.globals:
            e = f'm.symbols["{name}"]'
            return _convert(f"({e} + {self.constant('i8', offset)})" if offset else e, "i8", kind)
        else:
            raise PtxError(f"{self.current.place}: unknown name {name!r} in {self.current}")
        return self.constant(kind, address & ((1 << 8 * int(kind[1:])) - 1))

    local_at: dict[str, int]
    current: Instruction
    guard: str

    def write(self) -> str:
        """Both passes over all blocks; returns the module's text."""
        program = self.program
        reads, writes = self._flow()
        across = self._across(reads, writes)
        for deciding in (True, False):
            self.deciding = deciding
            self._reset()
            if not deciding:
                self._decide()
                self.slots = {r: n for n, r in enumerate(sorted(across))}
            for block in program.blocks:
                self._block(block)
        program.slots = self.slots
        program.slot_kinds = [self.kinds[r] for r in self.slots]
        program.accesses = self.accesses
        live = live_in(program.blocks, reads, writes)
        program.live = [sum(1 << self.slots[r] for r in live[b.number] if r in self.slots) for b in program.blocks]
        for b in program.blocks:
            if b.number in program.reductions:
                token, operation = self.barrier_results[b.number]
                program.reductions[b.number] = (self.slots[token], operation)
        text = [f"{name} = {_scalar(kind, bits)}" for (kind, bits), name in self.constants.items()]
        return "\n".join(text + self.lines) + "\n"

    def _flow(self) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
        reads: dict[int, set[str]] = {}
        writes: dict[int, set[str]] = {}
        self.barrier_results: dict[int, tuple[str, str]] = {}
        for b in self.program.blocks:
            exposed: set[str] = set()
            killed: set[str] = set()
            for i in b.instructions:
                written, read = operands(i, self.registers)
                self.read_somewhere.update(read)
                exposed.update(r for r in read if r not in killed)
                if i.guard:
                    exposed.update(r for r in written if r not in killed)
                else:
                    killed.update(written)
                if i.parts[0] in ("bar", "barrier") and "red" in i.parts and written:
                    self.barrier_results[b.number] = (written[0], i.parts[2])
                    self.program.reductions[b.number] = (-1, i.parts[2])
            reads[b.number], writes[b.number] = exposed, killed
        return reads, writes

    def _across(self, reads: dict[int, set[str]], writes: dict[int, set[str]]) -> set[str]:
        """Registers that must survive the end of a block."""
        live = live_in(self.program.blocks, reads, writes)
        across = {token for token, _ in self.barrier_results.values()}
        for b in self.program.blocks:
            across |= live[b.number]
        return across

    def _decide(self) -> None:
        for r, kind in self.registers.items():
            size = SIZES[kind]
            default = "b1" if kind == "pred" else DTYPES[kind] if kind[0] == "f" else f"i{size}"
            fitting = [(n, k) for k, n in self.votes[r].items() if k[1:] == str(size) and k != "b1"]
            if kind == "pred":
                self.kinds[r] = "b1"
            else:
                # A tie goes to signed integers: they are what addresses are made of.
                self.kinds[r] = max(fitting, key=lambda p: (p[0], p[1] == f"i{size}"))[1] if fitting else default

    def _block(self, block: Any) -> None:
        self.lines.append(f"def b{block.number}(m, R, A, M, keep):")
        self.loaded: set[str] = set()
        self.defined: set[str] = set()
        self.changed: list[str] = []
        self.block_start = block.instructions[0].index if block.instructions else 0
        self.result = "None"
        for i in block.instructions:
            self.current = i
            self.guard = ""
            emitter = EMITTERS.get(i.parts[0])
            if emitter is None:
                raise self.fail(i)
            written, _ = operands(i, self.registers)
            if i.parts[0] not in _EFFECTS and written and not any(r in self.read_somewhere for r in written):
                continue
            if i.guard and i.parts[0] not in ("bra", "ret", "exit"):
                self.guard = self.source(i.guard, "b1")
            try:
                emitter(self, i)
            except EmulatorError:
                raise
            except (IndexError, KeyError, StopIteration, AttributeError, TypeError, ValueError) as error:
                raise self.fail(i, "its form is not known") from error
        for r in self.changed:
            slot, name = self.slots[r], self.names[r]
            self.line(f"R[{slot}] = {name} if not keep & {1 << slot} else m.merge(R[{slot}], {name}, M)")
        self.line(f"return {self.result}")


def _convert(expression: str, have: str, want: str) -> str:
    """Reinterpret bits of one size; cut or extend between sizes (the value's sign decides how it extends)."""
    if have == want:
        return expression
    if have == "b1":
        return f"({expression}).astype({want})"
    if want == "b1":
        return f"(({expression}) != 0)"
    if have[1:] == want[1:]:
        return f"({expression}).view({want})"
    if have[0] == "f":
        expression, have = f"({expression}).view(i{have[1:]})", f"i{have[1:]}"
    step = f"{have[0]}{want[1:]}"
    expression = f"({expression}).astype({step})"
    return expression if step == want else f"{expression}.view({want})"


def _literal(token: str, kind: str) -> int:
    """The bits of a PTX literal in a NumPy type."""
    size = int(kind[1:])
    if token[:2] in ("0f", "0F") or token[:2] in ("0d", "0D"):
        bits = int(token[2:], 16)
        have = np.dtype("f4" if token[1] in "fF" else "f8")
        if have.itemsize == size:
            return bits
        value = np.array(bits, f"u{have.itemsize}").view(have)
        return int(value.astype(kind).view(f"u{size}")) if kind[0] == "f" else bits & ((1 << 8 * size) - 1)
    try:
        number = int(token.rstrip("U"), 0) if not re.match(r"0[0-7]+$", token) else int(token, 8)
    except ValueError:
        raise PtxError(f"cannot read the literal {token!r}") from None
    return number & ((1 << 8 * size) - 1) if kind != "b1" else int(number != 0)


def _scalar(kind: str, bits: int) -> str:
    if kind == "b1":
        return f"b1.type({bool(bits)})"
    return f"u{kind[1:]}.type({bits & ((1 << 8 * int(kind[1:])) - 1)}).view({kind})"


# ---------------------------------------------------------------------------------------------- counting by
# class

_CLASSES = {
    "ld": "load", "ldu": "load", "st": "store", "atom": "atomic", "red": "atomic", "bra": "control",
    "brx": "control",
    "ret": "control", "exit": "control", "call": "control", "trap": "control", "bar": "barrier",
    "barrier": "barrier",
    "membar": "barrier", "fence": "barrier", "shfl": "warp", "vote": "warp", "match": "warp",
    "activemask": "warp",
    "redux": "warp", "mma": "tensor", "ldmatrix": "load", "cvt": "conversion", "cvta": "move", "mov": "move",
    "setp": "compare", "set": "compare", "selp": "compare", "slct": "compare", "sqrt": "special",
    "rsqrt": "special",
    "rcp": "special", "ex2": "special", "lg2": "special", "sin": "special", "cos": "special",
    "tanh": "special",
    "cp": "load", "nanosleep": "control", "numba_status": "control",
}  # fmt: skip
_FLOPS = {"add": 1, "sub": 1, "mul": 1, "fma": 2, "mad": 2, "div": 1, "sqrt": 1, "rcp": 1, "rsqrt": 1}
_MMA_FLOPS = {"m16n8k4": 32, "m16n8k8": 64, "m16n8k16": 128}  # two per multiply-add, shared among 32 lanes


def instruction_class(i: Instruction) -> str:
    """The class an instruction is counted under."""
    op = i.parts[0]
    if op in _CLASSES:
        return _CLASSES[op]
    kind = i.parts[-1]
    if kind in ("f32", "f64", "f16", "bf16", "f16x2", "bf16x2"):
        return {"f32": "float32", "f64": "float64"}.get(kind, "float16")
    return "integer"


def instruction_flops(i: Instruction) -> int:
    """Floating-point operations of one thread: a fused multiply-add is two."""
    kind = i.parts[-1]
    if i.parts[0] == "mma":
        return next((n for shape, n in _MMA_FLOPS.items() if shape in i.parts), 0)
    if kind not in ("f32", "f64", "f16", "bf16", "f16x2", "bf16x2"):
        return 0
    return _FLOPS.get(i.parts[0], 0) * (2 if kind.endswith("x2") else 1)


# ---------------------------------------------------------------------------------------------- putting it
# together


def _layout(variables: list[Any]) -> tuple[dict[str, tuple[int, int]], int]:
    at: dict[str, tuple[int, int]] = {}
    offset = 0
    for v in variables:
        offset = -(-offset // v.align) * v.align
        at[v.name] = (offset, v.size)
        offset += v.size
    return at, offset


def prepare(module: Module, entry: Function, pointers: dict[str, int]) -> tuple[Program, Flat]:
    """Everything but the code: inlines, cuts blocks, lays out memories.

    Args:
        module: the PTX.
        entry: the kernel to run.
        pointers: parameter name -> position of the argument it points into.
    """
    flat = inline(module, entry)
    flat.registers[CARRY] = "pred"
    blocks = basic_blocks(flat)
    # What a function gives back may be left open; it is read all the same.
    left_open = flat.undefined | {r for r in flat.registers if r.startswith("%param:")}
    for i, register in reads_of_nothing(blocks, lambda i: operands(i, flat.registers), left_open):
        if register == CARRY:
            raise module.source.wrong(i, "", "the carry is read, but no instruction with .cc comes before")
        name = re.sub(r"[@~].*", "", register)
        raise module.source.wrong(i, name, f"register {name} is read, but nothing has written it")
    variables = list(module.variables.values())
    shared = [v for v in variables + flat.locals if v.space == "shared"]
    at, static = _layout([v for v in shared if v.size] + [v for v in shared if not v.size])
    constants = bytearray()
    constant_at: dict[str, int] = {}
    for v in variables:
        if v.space == "const":
            constants += bytes(-len(constants) % max(v.align, 1))
            constant_at[v.name] = len(constants)
            constants += v.data if v.data is not None else bytes(v.size)
    local_at, local_bytes = _layout([v for v in flat.locals if v.space == "local"])
    program = Program(
        name=entry.name,
        target=module.target,
        params=entry.params,
        files=module.files,
        instructions=[i for b in blocks for i in b.instructions],
        blocks=blocks,
        order=loop_aware_order(blocks),
        accesses=[],
        shared=at,
        static_shared=static,
        local_bytes=-(-local_bytes // 16) * 16,
        constants=bytes(constants),
        constant_at=constant_at,
        globals={v.name: v for v in variables if v.space == "global"},
        slots={},
        slot_kinds=[],
        live=[],
        source="",
        max_threads=entry.max_threads,
    )
    counted = [[i for i in b.instructions if i.opcode != "numba_raised"] for b in blocks]  # that is no PTX
    program.classes = [dict(Counter(map(instruction_class, instructions))) for instructions in counted]
    program.flops = [sum(instruction_flops(i) for i in b.instructions) for b in blocks]
    program.uses_grid_sync = any(b.end == "grid" for b in blocks)
    writer = Writer(program, flat, pointer_sources(flat, pointers, at.keys()))
    writer.local_at = {name: offset for name, (offset, _) in local_at.items()}
    program.source = writer.write()
    _summarise(program)
    return program, flat


def _summarise(program: Program) -> None:
    sizes = [a.item for a in program.accesses if a.space in ("shared", "generic")]
    program.grain = min([4, *sizes])
    program.global_grain = min(
        [4, *(a.item for a in program.accesses if a.space in ("global", "generic") and a.mode)]
    )
    program.uses_shared = bool(program.shared)
    stores = [a for a in program.accesses if a.mode in (STORE, ATOMIC) and a.space in ("global", "generic")]
    program.written = frozenset(s for a in stores for s in a.sources if isinstance(s, int))
    program.unknown_stores = any(not a.sources for a in stores)
    opcodes = [i.parts for i in program.instructions]
    program.spins = any(p[0] == "atom" and ("cas" in p or "exch" in p) for p in opcodes)
    # A fence of the block alone orders nothing between blocks.
    fenced = any(p[0] in ("membar", "fence") and "cta" not in p for p in opcodes)
    program.orders_blocks = fenced or program.spins
    any_fence = any(p[0] in ("membar", "fence") for p in opcodes)
    program.orders_threads = program.spins or (any_fence and any(p[0] in ("atom", "red") for p in opcodes))
    program.locks = program.spins and any_fence


def build(module: Module, entry: Function, pointers: dict[str, int]) -> Program:
    """A program that can run.

    Raises:
        UnsupportedInstruction: an opcode the emulator does not know; names the instruction and its Python
            line.
        PtxError: the PTX is not understood.
    """
    program, _ = prepare(module, entry, pointers)
    link(program)
    return program


def link(program: Program) -> None:
    """Compile the generated text into functions."""
    namespace: dict[str, Any] = dict(values.NAMES)
    exec(compile(program.source, f"<{program.name[:60]}>", "exec"), namespace)
    program.functions = [namespace[f"b{b.number}"] for b in program.blocks]


__all__ = ["DTYPES", "LOAD", "Writer", "build", "emits", "operands"]
from . import emit_arithmetic, emit_control, emit_convert, emit_memory, emit_warp  # noqa: E402, F401
