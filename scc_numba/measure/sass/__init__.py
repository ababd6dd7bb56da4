"""Static evidence: what the machine code (SASS) of a rung says, on a machine with no GPU.

    from scc_numba.measure.sass import facts
    found = facts(rung.build(layer), rung.op, layer, "sm_90")
    found.resources.registers, found.k_tile_loop.share

PTX is compiled as for a launch, assembled by ptxas and read back with nvdisasm, both from pip's wheels (the extra
`sass`). On a GPU numba-cuda assembles through nvJitLink instead: the same assembler as a library, which may allot
registers a little differently.
"""

from scc_numba.measure.sass.facts import LoopFacts, SassFacts, facts, rung_facts
from scc_numba.measure.sass.tools import NoTools, ToolFailed, missing, versions

__all__ = ["LoopFacts", "NoTools", "SassFacts", "ToolFailed", "facts", "missing", "rung_facts", "versions"]
