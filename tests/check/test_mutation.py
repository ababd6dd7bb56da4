"""The mutator changes what it says, and its verdicts are right: of a broken kernel, a harmless one, and none."""

import ast
import sys

import pytest

from scc_numba.check.mutation import Equivalent, campaign, declared, judge, mutants_of, run_mutants, sample, stale
from scc_numba.check.mutation.equivalents import key_of
from scc_numba.check.mutation.layers import KINDS, chosen
from scc_numba.check.mutation.mutants import mutated, rung_from, source_of
from scc_numba.check.mutation.operators import apply, edits
from scc_numba.check.mutation.report import contradictions, shares, survivors, to_csv
from scc_numba.check.mutation.verdict import judge_rung, kernel_holds, normal
from scc_numba.device import backend
from scc_numba.kernels import find_rung

verdict_room = sys.modules[judge.__module__]
on_the_emulator = pytest.mark.skipif(backend().name != "emulator", reason="mutants run on the emulator")


def changes(body, kind):
    """What the operators make of a function, those of one kind: the changed line of each."""
    source = "def kernel(a, b, i, N):\n    " + body.replace("\n", "\n    ") + "\n"
    found = []
    for number, _ in enumerate(edits(ast.parse(source).body[0])):
        tree = ast.parse(source)
        edit = edits(tree.body[0])[number]
        if edit.kind == kind:
            lines = ast.unparse(apply(edit, tree)).splitlines()
            before = ast.unparse(ast.parse(source)).splitlines()
            found += [new.strip() for old, new in zip(before, lines, strict=False) if old != new][:1]
    return found


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("i = 5", "constant", ["i = 6", "i = 4", "i = 0"]),
        ("i = 1", "constant", ["i = 2", "i = 0"]),
        ("i = True", "constant", []),
        ("i = N", "constant", ["i = uint32(N + 1)", "i = uint32(N - 1)"]),
        ("s = cuda.shared.array(5, float32)", "constant", []),
        ("i = a if N else b", "constant", []),
        ("i = a < b", "comparison", ["i = a <= b", "i = a >= b"]),
        ("i = a >= b", "comparison", ["i = a > b", "i = a < b"]),
        ("i = a == b", "comparison", ["i = a != b"]),
        ("i = a and b", "comparison", ["i = a or b"]),
        ("i = not a", "comparison", ["i = a"]),
        ("i = a + b", "term", ["i = a", "i = b", "i = a - b"]),
        ("i = a - b", "term", ["i = a", "i = a + b", "i = b - a"]),
        ("i = a * b", "term", ["i = a", "i = b"]),
        ("i = a // b", "term", ["i = a", "i = b // a"]),
        ("i = a % b", "term", ["i = a", "i = b % a"]),
        ("i += a", "term", ["i -= a", "i = a"]),
        ("i = min(a, b)", "term", ["i = a", "i = b"]),
        ("i = a if b else i", "condition", ["i = a", "i = i"]),
        ("i = a or b or i", "condition", ["i = b or i", "i = a or i", "i = a or b"]),
        ("i = N or b", "condition", ["i = N"]),  # but not `b`: the flag only spares a test
        ("i = f(a, b, i)", "arguments", ["i = f(b, a, i)", "i = f(a, i, b)"]),
        ("i = a[b, i]", "arguments", ["i = a[i, b]"]),
        ("cuda.syncthreads()", "barrier", ["pass"]),
        ("wait_for_copies(0)", "barrier", ["pass"]),
        ("a[i] = b", "statement", ["pass"]),
        ("c = b", "statement", []),  # its first value
        ("c = b\nc = a", "statement", ["pass"]),
        ("for j in range(a):\n    b[j] = a", "statement", ["pass", "pass"]),
    ],
)
def test_operators(body, kind, expected):
    assert changes(body, kind) == expected


def test_lines_stay_where_they_are():
    rung = find_rung("f0")
    before = {node.lineno: ast.unparse(node) for node in ast.walk(ast.parse(source_of(rung))) if is_simple(node)}
    mutant = by_words("f0", "k * step + j", "k * step - j")
    assert source_of(rung).splitlines()[mutant.line_number - 1].partition("  #")[0].strip() == mutant.line
    kernel = mutated(mutant).build.__globals__["forward_naive"].function
    lines = {line for _, _, line in kernel.__code__.co_lines() if line}
    assert kernel.__code__.co_filename == rung.kernel_file
    assert lines <= {*before, kernel.__code__.co_firstlineno}
    assert mutated(mutant).build.__module__ == rung.build.__module__


def is_simple(node):
    return isinstance(node, ast.stmt)


def by_words(rung, was, becomes):
    return next(m for m in mutants_of(rung) if (m.was, m.becomes) == (was, becomes))


def with_text(rung, old, new):
    source = source_of(find_rung(rung))
    assert old in source
    return rung_from(find_rung(rung), ast.parse(source.replace(old, new)))


@pytest.fixture
def identity():
    return mutants_of("f0")[0]


@pytest.fixture(autouse=True)
def few_layers(monkeypatch):
    """Those that kill most: a survivor takes all there are, and many seconds."""
    monkeypatch.setattr(verdict_room, "chosen", lambda rung: chosen(rung)[:3])


@on_the_emulator
def test_a_wrong_mutant_dies():
    verdict = judge(by_words("f0", "k * step + j", "k * step - j"), layers=5, seconds=60)
    assert (verdict.state, verdict.by) == ("killed", "exact_on_integers")
    assert "elements differ" in verdict.said
    assert "tile (128,)" in verdict.where


@on_the_emulator
def test_a_missing_barrier_dies():
    mutant = next(m for m in mutants_of("w1") if m.kind == "barrier")
    verdict = judge(mutant, layers=5, seconds=60)
    assert verdict.state == "killed"
    assert "race" in verdict.said


@on_the_emulator
def test_an_endless_loop_dies():
    verdict = judge(by_words("f2", "j += uint32(1)", "nothing"), layers=5, seconds=60)
    assert verdict.state == "killed"
    assert "no end after" in verdict.said


@on_the_emulator
def test_what_the_compiler_refuses_is_no_kernel():
    verdict = judge(
        by_words("f0", "x[n, (k * step + j) % C, p] * weight[k, j]", "x[n, (k * step + j) % C, p]"),
        layers=5,
        seconds=60,
    )
    assert verdict.state == "killed"
    undefined = with_text("f0", "total += x", "totals += x")
    assert judge_rung(undefined, mutants_of("f0")[0], layers=5, seconds=60).state == "stillborn"


@on_the_emulator
@pytest.mark.parametrize(
    ("old", "new", "same_code"),
    [("p = i % P", "p = i % P + 0", True), ("i // P % K", "(i + K * P * 2) // P % K", False)],
    ids=["the compiler sees it", "only the result says it"],
)
def test_an_equivalent_mutant_survives_and_is_listed(identity, old, new, same_code):
    verdict = judge_rung(with_text("f0", old, new), identity, layers=5, seconds=60)
    assert verdict.state == "survived"
    assert verdict.same_code == same_code
    (listed,) = survivors([verdict], {})
    assert identity.line in listed
    assert "asks for" in listed
    known = Equivalent(*key_of(identity)[:5], reason="adds nothing", nth=identity.nth)
    assert "equivalent: adds nothing" in survivors([verdict], {known.key: known})[0]
    assert shares([verdict], {known.key: known})[-1].equivalent == 1
    assert "adds nothing" in to_csv([verdict], {known.key: known})


@on_the_emulator
def test_a_mutant_that_dies_is_not_equivalent():
    mutant = by_words("f0", "k * step + j", "k * step - j")
    verdict = judge(mutant, layers=5, seconds=60)
    known = Equivalent(*key_of(mutant)[:5], reason="hope", nth=mutant.nth)
    assert len(contradictions([verdict], {known.key: known})) == 1
    assert contradictions([verdict], {}) == []


@on_the_emulator
def test_time_is_up():
    verdict = judge_rung(
        with_text("f0", "i // P % K", "(i + K * P * 2) // P % K"), mutants_of("f0")[0], layers=5, seconds=0
    )
    assert verdict.state == "survived"
    assert "until time was up" in verdict.where


@on_the_emulator
def test_a_rung_that_is_wrong_itself_is_refused(monkeypatch):
    assert kernel_holds("f0") is None
    monkeypatch.setattr(verdict_room, "changed_rung", lambda rung, number: with_text("f0", "% C", "% K"))
    assert "f0" not in (said := kernel_holds("f0"))
    assert "on N=2 C=12" in said


@on_the_emulator
def test_a_campaign_judges_in_other_processes():
    mutants = sample(mutants_of("f0"), 3, seed=1)
    first, *verdicts = run_mutants(mutants, layers=3, seconds=60)
    assert first == "f0"
    assert {verdict.mutant for verdict in verdicts} == set(mutants)


def test_a_process_that_says_nothing_is_an_error(monkeypatch):
    class Silent:
        def next(self, timeout):
            raise campaign.multiprocessing.TimeoutError

    with pytest.raises(RuntimeError, match="a process has died"):
        next(campaign._patiently(Silent(), 1))


def test_samples_are_drawn_by_their_seed():
    mutants = mutants_of("f2")
    assert sample(mutants, 20, 1) == sample(mutants, 20, 1) != sample(mutants, 20, 2)
    assert sample(mutants, None, 0) == sample(mutants, 10_000, 0) == mutants
    assert len({(*key_of(m),) for m in mutants}) == len(mutants)


@pytest.mark.parametrize("name", ["f0", "f5", "x2", "w3"])
def test_every_tile_and_every_kind_of_layer_has_its_turn(name):
    rung = find_rung(name)
    cases = chosen(rung)
    assert len({case.layer for case in cases if case.layer.dtype.name == "float32"}) == len(KINDS)
    tried = {rung.tiles(case.layer)[case.tile % len(rung.tiles(case.layer))] for case in cases}
    assert tried == {tile for case in cases for tile in rung.tiles(case.layer)}
    assert {case.layer.dtype.name for case in cases} == set(rung.dtypes)


def test_no_declaration_is_stale():
    assert [str(e) for e in stale(declared())] == []


def test_a_declaration_goes_stale_with_its_line():
    mutant = mutants_of("f0")[3]
    fits = Equivalent(*key_of(mutant)[:5], reason="none", nth=mutant.nth)
    other = Equivalent("f0", "forward_naive", "if i < N * K * Q:", "i < N * K * Q", "i <= N * K * Q", reason="none")
    assert stale({fits.key: fits, other.key: other}) == [other]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[equivalent]]\nrung = "f0"', "entry 1: lacks"),
        ("{entry}{entry}", "declared twice"),
        ("{entry}sure = true", r"unknown \['sure'\]"),
        ("{entry}", "gives no reason"),
    ],
)
def test_a_bad_declaration_is_named(tmp_path, text, said):
    words = {"rung": "f0", "function": "f", "line": "l", "was": "w", "becomes": "b", "reason": "none"}
    if "gives no reason" in said:
        words["reason"] = " "
    entry = "[[equivalent]]\n" + "".join(f'{name} = "{word}"\n' for name, word in words.items())
    file = tmp_path / "equivalents.toml"
    file.write_text(text.replace("{entry}", entry))
    with pytest.raises(ValueError, match=said):
        declared(file)


def test_ptx_is_compared_without_names_and_lines():
    one = (
        ".loc 1 2 3\n.visible .entry _ZN6cudapy3oneE(\n\tadd.s32 %r1, %r2, 4; // here\n$L__BB0_1:\n bra $L__BB0_1;"
    )
    other = ".loc 1 9 3\n.visible .entry _ZN6cudapy3twoE(\n\tadd.s32 %r1, %r2, 4;\n$L__BB7_1:\n bra $L__BB7_1;"
    assert normal(one) == normal(other)
    assert normal(one) != normal(other.replace("4", "5"))
