"""SASS as nvdisasm prints it, written down here: instructions, loops, classes. Needs no tools."""

import pytest

from scc_numba.measure.sass.assemble import Resources, read_resources
from scc_numba.measure.sass.classes import class_of, count_classes, products, wide_share
from scc_numba.measure.sass.facts import read_facts
from scc_numba.measure.sass.flow import find_loops, reachable
from scc_numba.measure.sass.listing import read_listing

NOTHING_SPILLED = Resources(32, 0, 0, 0, 0)


def listing_text(*rows):
    """A listing of one kernel: labels stand alone, instructions get their addresses, "file.py:7" sets a line."""
    out, at = ['\t.section\t.text.kernel,"ax",@progbits', "kernel:", ".text.kernel:"], 0
    for row in rows:
        if row.endswith(":"):
            out.append(row)
        elif row.startswith("k.py:"):
            out.append(f'\t//## File "/somewhere/k.py", line {row.removeprefix("k.py:")}')
        else:
            out.append(f"        /*{at:04x}*/                   {row} ;")
            at += 16
    return "\n".join(out)


TILED = listing_text(
    "S2R R0, SR_TID.X",
    ".L_x_0:",  # the k-tile loop
    "k.py:10",
    "LDGSTS.E.BYPASS.128 [R1], desc[UR4][R2.64]",
    "LDGSTS.E [R1+0x10], desc[UR4][R2.64+0x10]",
    "LDGDEPBAR",
    "DEPBAR.LE SB0, 0x0",
    "BAR.SYNC.DEFER_BLOCKING 0x0",
    ".L_x_1:",  # the inner k loop
    "k.py:12",
    "LDS.128 R4, [R3]",
    "LDS R8, [R3+0x400]",
    "FFMA R12, R4, R8, R12",
    "FFMA R13, R5, R8, R13",
    "@P1 FFMA R14, R6, R8, R14",
    "ISETP.NE.AND P0, PT, R3, R9, PT",
    "@P0 BRA `(.L_x_1)",
    "k.py:14",
    "@!P2 BRA `(.L_x_3)",
    ".L_x_2:",  # back from the cold block
    "@P3 BRA `(.L_x_0)",
    "STG.E desc[UR4][R10.64], R12",
    "EXIT",
    ".L_x_3:",  # a cold block of the k-tile loop, put behind the exit
    "IADD3 R3, R3, 0x1, RZ",
    "BRA `(.L_x_2)",
    ".L_x_4:",
    "BRA `(.L_x_4)",
    "NOP",
    "NOP",
)


def test_instructions_are_read():
    code = read_listing(TILED).instructions
    first = code[1]
    assert (first.address, first.opcode, first.base, first.bits) == (16, "LDGSTS.E.BYPASS.128", "LDGSTS", 128)
    assert (first.file, first.line) == ("/somewhere/k.py", 10)
    predicated = next(i for i in code if i.predicate == "@P1")
    assert str(predicated) == "@P1 FFMA R14, R6, R8, R14"
    assert next(i for i in code if i.opcode == "BRA").labels == (".L_x_1",)


def test_loops_come_from_the_control_flow_graph():
    tile, inner = find_loops(read_listing(TILED))
    assert inner.header in tile.inside
    assert inner.inside == ()
    assert len(inner.instructions) == 7
    # The copies, the inner loop, both branches, and the cold block behind the exit.
    assert len(tile.instructions) == 5 + 7 + 2 + 2
    assert "STG.E" not in {i.opcode for i in tile.instructions}


def test_the_filling_behind_a_kernel_is_not_part_of_it():
    listing = read_listing(TILED)
    assert len(listing.instructions) - len(reachable(listing)) == 3


def test_the_k_loop_and_the_k_tile_loop():
    found = read_facts(TILED, NOTHING_SPILLED, "sm_90", 128)
    assert (len(found.k_loop.instructions), found.k_loop.products) == (7, 3)
    assert found.k_loop.per_product == 7 / 3
    assert found.k_loop.share == 3 / 7
    assert found.k_tile_loop.loops_inside == 1
    assert found.k_tile_loop.classes == {
        **dict.fromkeys(found.k_tile_loop.classes, 0),
        "FFMA": 3,
        "integer": 2,
        "LDGSTS": 2,
        "LDS": 2,
        "control": 7,
    }
    assert found.k_tile_loop.wide_shared_loads == 1 / 2
    assert found.k_tile_loop.wide_global_loads == 1 / 2
    assert not found.k_tile_loop.on_tensor_cores


def test_an_unrolled_k_loop_is_the_k_tile_loop():
    text = listing_text(
        ".L_x_0:",
        "BAR.SYNC 0x0",
        "LDSM.16.M88.4 R4, [R0]",
        *["HMMA.1688.F32.TF32 R8, R4, R6, R8"] * 4,
        "@P0 BRA `(.L_x_0)",
        "EXIT",
    )
    found = read_facts(text, NOTHING_SPILLED, "sm_80", 128)
    assert found.k_loop == found.k_tile_loop
    assert found.k_loop.on_tensor_cores
    assert found.k_loop.per_product == 7 / 4
    assert found.k_loop.wide_shared_loads == 1


def test_an_unrolled_k_loop_may_hold_a_loop_that_copies():
    text = listing_text(
        ".L_x_0:",
        "MOV R2, R3",
        ".L_x_1:",
        "STS [R2], R3",
        "@P0 BRA `(.L_x_1)",
        "BAR.SYNC 0x0",
        "FFMA R0, R1, R2, R0",
        "@P1 BRA `(.L_x_0)",
        "EXIT",
    )
    found = read_facts(text, NOTHING_SPILLED, "sm_90", 128)
    assert found.k_loop == found.k_tile_loop
    assert len(found.k_loop.instructions) == 6
    assert found.k_loop.loops_inside == 1
    assert found.k_loop_sizes == ((1, 6),)


def test_the_loop_with_the_most_multiply_adds_is_the_k_loop_and_of_equals_the_longest():
    def loop(number, *body):
        return [f".L_x_{number}:", *body, f"@P0 BRA `(.L_x_{number})"]

    fma = "FFMA R0, R1, R2, R0"
    text = listing_text(
        *loop(0, fma, fma),
        *loop(1, fma, "IADD3 R1, R1, R1, RZ", fma),
        *loop(2, fma),
        *loop(3, "FADD R0, R0, R1"),
        "EXIT",
    )
    found = read_facts(text, NOTHING_SPILLED, "sm_90", 128)
    assert len(found.k_loop.instructions) == 4
    assert found.k_loop_sizes == ((2, 4), (2, 3), (1, 2))


def test_barriers_of_a_loop_far_around_do_not_make_it_smaller():
    # Nothing waits in the loop over k, nor around it: a grid-stride loop is no k-tile loop.
    text = listing_text(
        ".L_x_0:",
        ".L_x_1:",
        "FFMA R0, R1, R2, R0",
        "@P0 BRA `(.L_x_1)",
        "STG.E [R2], R0",
        "@P1 BRA `(.L_x_0)",
        "EXIT",
    )
    found = read_facts(text, NOTHING_SPILLED, "sm_90", 128)
    assert found.k_loop == found.k_tile_loop


@pytest.mark.parametrize(
    ("branch", "both"),
    [
        ("@P0 BRA `(.L_x_1)", True),
        ("BRA P6, `(.L_x_1)", True),
        ("@!UP0 BRA.U `(.L_x_1)", True),
        ("BRA.U UP0, `(.L_x_1)", True),
        ("BRA `(.L_x_1)", False),
    ],
)
def test_conditional_branches_fall_through(branch, both):
    text = listing_text(".L_x_0:", branch, "FFMA R0, R1, R2, R0", ".L_x_1:", "@P1 BRA `(.L_x_0)", "EXIT")
    (loop,) = find_loops(read_listing(text))
    assert ("FFMA" in {i.base for i in loop.instructions}) == both


def test_calls_return():
    text = listing_text(
        ".L_x_0:",
        "MOV R9, 0x20",
        "CALL.REL.NOINC `($__internal_0_$__cuda_sm20_rem_s64)",
        "@P0 BRA `(.L_x_0)",
        "EXIT",
        "$__internal_0_$__cuda_sm20_rem_s64:",
        "IMAD R0, R0, R0, R0",
        "RET.REL.NODEC R8 `(kernel)",
    )
    (loop,) = find_loops(read_listing(text))
    assert [i.base for i in loop.instructions] == ["MOV", "CALL", "BRA"]
    assert len(reachable(read_listing(text))) == 6


def test_a_loop_entered_in_its_middle_is_no_natural_loop():
    text = listing_text(
        "@P0 BRA `(.L_x_1)",
        ".L_x_0:",
        "IADD3 R0, R0, R0, RZ",
        ".L_x_1:",
        "FFMA R0, R1, R2, R0",
        "@P1 BRA `(.L_x_0)",
        "EXIT",
    )
    assert find_loops(read_listing(text)) == ()


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("FFMA R0, R1, R2, R0", "FFMA"),
        ("DFMA R0, R2, R4, R0", "FFMA"),
        ("HFMA2.MMA R7, -RZ, RZ, 0, 5.9604644775390625e-08", "integer"),  # a constant, in disguise
        ("HFMA2 R0, R1, R2, R0", "FFMA"),
        ("HMMA.16816.F32.BF16 R4, R8, R10, R4", "HMMA"),
        ("UIADD3 UR4, UR4, 0x1, URZ", "integer"),
        ("IMAD.WIDE.U32 R0, R1, R2, R4", "integer"),
        ("LDG.E.128.CONSTANT R0, desc[UR4][R2.64]", "LDG"),
        ("LDGSTS.E.128 [R0], [R2.64]", "LDGSTS"),
        ("LDGDEPBAR", "control"),
        ("RED.E.ADD.F32.FTZ.RN.STRONG.GPU desc[UR4][R2.64], R5", "atomic"),
        ("LDL.64 R2, [R1]", "local"),
        ("STL [R1+0x4], R2", "local"),
        ("MUFU.RCP R3, R3", "other"),
        ("ULDC.64 UR4, c[0x0][0x208]", "other"),
    ],
)
def test_classes(row, kind):
    (instruction,) = read_listing(listing_text(row)).instructions
    assert class_of(instruction) == kind
    assert count_classes([instruction])[kind] == 1


def test_products_are_fused_or_else_plain():
    code = read_listing(
        listing_text("FMUL R0, R1, R2", "FMUL R0, R1, R2", "HFMA2.MMA R7, -RZ, RZ, 0, 0")
    ).instructions
    assert products(code) == 2
    assert products([*code, *read_listing(listing_text("FFMA R0, R1, R2, R3")).instructions]) == 1


def test_widths():
    code = read_listing(
        listing_text("LDS.128 R0, [R4]", "LDS.U.64 R0, [R4]", "LDS R0, [R4]", "STS.128 [R4], R0")
    ).instructions
    assert wide_share(code, ("LDS",)) == 1 / 3
    assert wide_share(code, ("LDG",)) is None


def test_text_that_is_no_listing():
    with pytest.raises(ValueError, match="found 0 with 0 instructions"):
        read_listing("nothing")
    with pytest.raises(ValueError, match=r"cut short: it branches to \.L_x_7"):
        read_listing(listing_text("BRA `(.L_x_7)"))
    with pytest.raises(ValueError, match="found 2"):
        read_listing(listing_text("EXIT") + "\n" + listing_text("EXIT"))


def test_what_ptxas_says():
    said = """ptxas info    : 8 bytes gmem
ptxas info    : Compiling entry function 'kernel' for 'sm_90'
ptxas info    : Function properties for kernel
    96 bytes stack frame, 128 bytes spill stores, 160 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 96 bytes cumulative stack size, 25088 bytes smem
"""
    assert read_resources(said) == Resources(40, 128, 160, 96, 25088)
    with pytest.raises(ValueError, match="0 kernels' registers"):
        read_resources("ptxas info    : 8 bytes gmem")
