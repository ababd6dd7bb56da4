"""Holds PTX against its own declarations, before anything is made of it.

Every name must be declared, every opcode must have as many operands as the manual gives it, predicates must
stand where predicates belong. What is wrong is named with its line and column in the text.
"""

from __future__ import annotations

import re

from .errors import PtxError, UnsupportedInstruction
from .operands import operand_counts, predicate_places, result_places, vector_width, wrong_modifier
from .ptx import SIZES, Function, Instruction, Label, Module, split_operands

# Special registers that the emulator has; of the others PTX has, it says that it has not.
SPECIAL = {
    *(f"{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"),
    "laneid", "warpid", "nwarpid", "smid", "nsmid", "gridid", "clock", "clock_hi", "clock64", "globaltimer",
    *(f"lanemask_{which}" for which in ("eq", "lt", "le", "gt", "ge")), "dynamic_smem_size", "total_smem_size",
}  # fmt: skip
_NOT_MODELLED = re.compile(
    r"envreg\d+|pm\d+(_64)?|n?cluster\w*(\.[xyz])?|is_explicit_cluster|globaltimer_\w+|reserved_smem\w*"
    r"|aggr_smem_size|current_graph_exec"
)

_NAME = r"[%$]?[A-Za-z_$][\w$]*(?:@\d+)?(?:\.[a-z]\w*)?"
_NUMBER = r"-?(?:0[fF][0-9A-Fa-f]{8}|0[dD][0-9A-Fa-f]{16}|0[xX][0-9A-Fa-f]+U?|0[bB][01]+U?|\d+U?)"
_WHOLE = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?")
_WORD = re.compile(rf"!?({_NAME})(?:\|({_NAME}))?(?:\s*\+\s*-?\d+)?|{_NUMBER}")
_PLACE = re.compile(
    rf"\[\s*({_NAME})\s*(?:\+\s*(-?(?:0[xX][0-9A-Fa-f]+|\d+)))?\s*\]|\[\s*{_NUMBER}\s*(?:\+\s*-?\d+)?\s*\]"
)
_SCALARS = set(SIZES) - {"pred", "b128"}


def verify(module: Module, entry: Function) -> None:
    """Check all functions of a text.

    Raises:
        PtxError: a name that is not declared, a wrong number of operands, a call that does not fit...
        UnsupportedInstruction: PTX that is right but that the emulator does not model.
    """
    for name, kind in entry.params:
        if kind not in _SCALARS:
            raise UnsupportedInstruction(
                f"parameter {name} is a .{kind}: structures as kernel parameters are not modelled"
            )
    for function in module.functions.values():
        _Verifier(module, function).run()


class _Verifier:
    """One function of a text; `i` and `place` stand for the instruction and operand being looked at."""

    def __init__(self, module: Module, function: Function) -> None:
        self.module, self.function = module, function
        self.labels = {x.name for x in function.body if isinstance(x, Label)}
        self.variables = {*module.variables, *(v.name for v in function.locals)}
        self.own = dict(function.params if function.is_entry else [*function.params, *function.returns])
        self.i: Instruction
        self.place = 0

    def run(self) -> None:
        for i in self.function.body:
            if not isinstance(i, Instruction):
                continue
            self.i, self.place = i, 0
            self._count()
            modifier = wrong_modifier(i.parts)
            if modifier:
                raise self._wrong(f".{modifier} does not go with {i.parts[0]} of .{i.parts[-1]}")
            if i.guard:
                self._register(i.guard.lstrip("!"), True)
            if i.parts[0] == "call":
                self._call()
            elif i.parts[0] in ("bra", "brx"):
                self._jump()
            else:
                self._operands()

    def _wrong(self, why: str, word: str = "") -> PtxError:
        """The error for a word of the operand, or for the whole instruction."""
        before = " ".join(self.i.args[: self.place])
        nth = len(re.findall(rf"(?<![\w$%.]){re.escape(word)}(?![\w$])", before)) if word else 0
        return self.module.source.wrong(self.i, _plain(word), why, nth)

    def _count(self) -> None:
        allowed, given = operand_counts(self.i.parts), len(self.i.args)
        if allowed is None or allowed[0] <= given <= allowed[1]:
            return
        least, most = allowed
        takes = f"{least}" if least == most else f"{least} to {most}"
        raise self._wrong(f"{self.i.opcode} takes {_number(takes, 'operand')}, {_given(given)} given")

    def _operands(self) -> None:
        i = self.i
        predicates, results = predicate_places(i.parts, len(i.args)), result_places(i.parts)
        width = vector_width(i.parts) if i.parts[0] in ("ld", "ldu", "st", "atom", "red") else 0
        for self.place, text in enumerate(i.args):
            if text.startswith("["):
                self._address(text)
                continue
            braces = text.startswith("{") and text.endswith("}")
            words = split_operands(text[1:-1]) if braces else [text]
            moved = self.place == (1 if i.parts[0] in ("st", "red") else 0)
            if width and moved and (len(words) != width or braces != (width > 1)):
                have = f"{_number(str(len(words)), 'value')} {'in' if braces else 'without'} braces"
                raise self._wrong(f"{i.opcode} moves {width}, not {have},", words[0] if words else "")
            for word in words:
                self._word(word, self.place in predicates, self.place in results)

    def _word(self, word: str, predicate: bool, result: bool) -> None:
        m = _WORD.fullmatch(word)
        if m is None or (result and m[1] is None):
            what = "result" if result else "operand"
            raise self._wrong(f"cannot read the {what} {word!r}", word.split()[0] if word else "")
        bits = 8 * SIZES.get(self.i.parts[-1], 0)
        if bits >= 32 and _WHOLE.fullmatch(word) and self.i.parts[-1][0] in "bsu":
            digits = word.removesuffix("U")
            value = int(digits, 8 if re.fullmatch(r"-?0[0-7]+", digits) else 0)
            if not -(1 << bits - 1) <= value < 1 << bits:
                raise self._wrong(f"{word} does not fit {self.i.opcode}, whose operands have {bits} bits,", word)
        if m[1] is not None and m[1] != "_":
            self._register(m[1], predicate, others=not result)
        if m[2] and m[2] != "_":  # `d|p`: shuffles and matches give a predicate too, setp its complement
            self._register(m[2], True)

    def _register(self, name: str, predicate: bool, *, others: bool = False) -> None:
        """A name that must be a register; or, where `others` may stand, any that has a value."""
        kind = self.function.registers.get(name)
        if kind is None:
            if not (others and (name in self.variables or name == "WARP_SZ" or name[1:] in SPECIAL)):
                raise self._unknown(name)
        elif (kind == "pred") != predicate and self.i.parts[0] not in ("cp", "lop3"):
            takes = "a predicate" if predicate else "a value"
            raise self._wrong(f"{_plain(name)} is a .{kind}, {self.i.opcode} takes {takes} here", name)

    def _unknown(self, name: str) -> Exception:
        if name[0] == "%" and _NOT_MODELLED.fullmatch(name[1:]):
            return UnsupportedInstruction(f"{self.i.place}: the emulator does not know the special register {name}")
        for stem, count in self.function.ranges.items():
            if name.startswith(stem) and name.removeprefix(stem).isdigit():
                last = f"{stem}0 to {stem}{count - 1}" if count else "none"
                return self._wrong(f"{name} is beyond its range: {stem}<{count}> declares {last}", name)
        return self._wrong(f"{_plain(name)!r} is neither a register nor another name declared here", name)

    def _address(self, text: str) -> None:
        m = _PLACE.fullmatch(text)
        if m is None:
            raise self._wrong(f"cannot read the address {text!r}", text)
        if m[1] is None:
            return
        if "param" in self.i.parts:
            self._parameter(m[1], int(m[2] or "0", 0))
        else:
            self._register(m[1], False, others=True)

    def _parameter(self, name: str, offset: int = 0) -> None:
        if name in self.function.handed_over:
            return
        kind = self.own.get(name)
        if kind is None:
            known = ", ".join([*self.own, *map(_plain, sorted(self.function.handed_over))]) or "none"
            raise self._wrong(f"parameter {_plain(name)!r} is not declared ({known})", name)
        size = SIZES.get(kind) or int(kind[3:-1])
        moved = SIZES.get(self.i.parts[-1], 1) * vector_width(self.i.parts)
        if offset < 0 or offset + moved > size:
            raise self._wrong(f"uses {moved} bytes at byte {offset} of parameter {name!r}, which has {size},", name)

    def _jump(self) -> None:
        *index, target = self.i.args
        for name in index:
            self._register(name, False)
        if target not in (self.labels if self.i.parts[0] == "bra" else self.function.tables):
            raise self._wrong(f"jumps to the label {_plain(target)!r}, which does not exist", target)

    def _call(self) -> None:
        groups = [split_operands(a[1:-1]) if a.startswith("(") else a for a in self.i.args]
        at = next((k for k, g in enumerate(groups) if isinstance(g, str)), None)
        if at is None or str(groups[at]).startswith("%"):
            return  # the inliner has the words for these
        name = str(groups[at])
        results, arguments = ([p for g in part for p in g] for part in (groups[:at], groups[at + 1 : at + 2]))
        for p in results + arguments:
            if p in self.function.registers:
                raise UnsupportedInstruction(
                    f"{self.i.place}: registers as a call's arguments are not modelled: {self.i}"
                )
            if p not in self.function.handed_over:
                self._parameter(p)
        callee = self.module.functions.get(name)
        if callee is None:
            if name not in self.module.externs:
                raise self._wrong(f"calls {name}, which this PTX neither defines nor declares", name)
            return
        if len(arguments) != len(callee.params):
            takes = _number(str(len(callee.params)), "argument")
            raise self._wrong(f"{name} takes {takes}, {_given(len(arguments))} given")
        if len(results) != len(callee.returns):
            gives = _number(str(len(callee.returns)), "result")
            raise self._wrong(f"{name} gives {gives}, {_given(len(results))} taken")


def _plain(name: str) -> str:
    """A name without the mark of its scope."""
    return re.sub(r"@\d+$", "", name)


def _number(count: str, noun: str) -> str:
    return f"{count} {noun}{'' if count == '1' else 's'}"


def _given(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"
