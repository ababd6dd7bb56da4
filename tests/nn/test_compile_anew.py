"""torch.compile compiles each layer's peer, however many came before it."""

import pytest
from scc_reference import SlidingChannels

torch = pytest.importorskip("torch")
from scc_numba.nn.peers import compiled, masked_dense  # noqa: E402


def test_the_tenth_layer_is_compiled_like_the_first(monkeypatch):
    graphs = []
    plain = torch.compile

    def counting(peer, **options):
        return plain(peer, backend=lambda graph, inputs: graphs.append(graph) or graph.forward, **options)

    monkeypatch.setattr(torch, "compile", counting)
    for i in range(1, 13):
        channels = SlidingChannels(2 * i, 3, 2, 0.5)
        compiled(masked_dense(channels))(torch.zeros(1, 2 * i, 4, 4), torch.zeros(3, i))
        assert len(graphs) == i
