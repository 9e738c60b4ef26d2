"""State_dicts: the order of their parts is certain, given, or refused."""

import itertools

import pytest
import torch
from torch import nn

from golden.errors import WordlineError
from golden.frontends.state_dict import from_state_dict


class Net(nn.Module):
    """Parts by name, in the order in which they are made."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def read(made=True, order=None, inputs=None, **parts):
    torch.manual_seed(0)
    tensors = Net(**parts).state_dict()
    if not made:  # as safetensors has them
        tensors = {name: tensors[name] for name in sorted(tensors)}
    return from_state_dict(tensors, made=made, order=order, inputs=inputs)


def lstm(inputs, units=7, layers=1):
    return nn.LSTM(inputs, units, layers)


@pytest.mark.parametrize("made", [True, False])
def test_sizes_that_fit_in_one_order_tell_it(made):
    own = read(made, z=nn.Linear(6, 5), second=lstm(9, 8), a=lstm(5, 9, 2), head=nn.Linear(8, 3))
    assert own.chain == ("z", "a[0]", "a[1]", "second", "head")
    assert [layer.units for layer in own.layers] == [9, 9, 8] and own.layers[0].inputs == 6


def test_matrices_without_rows_are_refused():
    none = {"weight_ih_l0": torch.zeros(0, 5), "weight_hh_l0": torch.zeros(0, 0)}
    with pytest.raises(WordlineError, match=r"weight_ih_l0\) is no recurrent layer"):
        from_state_dict(none)
    rows = Net(l=lstm(5)).state_dict() | {"head.weight": torch.zeros(0, 7)}
    with pytest.raises(WordlineError, match=r"head.weight with shape \(0, 7\) is of no linear"):
        from_state_dict(rows)


def test_layers_are_in_the_order_in_which_they_were_made():
    parts = {"encoder": lstm(7), "decoder": lstm(7), "head": nn.Linear(7, 3)}
    assert read(**parts).chain == ("encoder", "decoder", "head")
    with pytest.raises(WordlineError, match=r"sizes fit in several orders\); say it: --order "):
        read(made=False, **parts)  # sorted by name, the decoder would come first
    given = read(made=False, order=["encoder", "decoder", "head"], **parts)
    assert given.chain == ("encoder", "decoder", "head")
    with pytest.raises(WordlineError, match=r"does not name the parts .*: decoder,encoder,head"):
        read(made=False, order=["encoder", "head"], **parts)


def test_numbers_in_names_are_an_order():
    parts = {"lstm1": lstm(7), "lstm2": lstm(7), "head": nn.Linear(7, 3)}
    assert read(made=False, **parts).chain == ("lstm1", "lstm2", "head")


def test_a_matrix_that_fits_in_two_places_is_refused():
    words = r"sizes fit in several orders\); say it: --order proj,l or l,proj"
    with pytest.raises(WordlineError, match=words):
        read(proj=nn.Linear(7, 7), l=lstm(7))
    assert read(order=["proj", "l"], proj=nn.Linear(7, 7), l=lstm(7)).head is None


def test_the_calibration_s_channels_may_tell_the_order():
    """A layer from 3 to 7 and a matrix from 7 to 3 fit either way round."""
    parts = {"l": lstm(3), "f": nn.Linear(7, 3)}
    with pytest.raises(WordlineError, match="several orders"):
        read(**parts)
    assert read(inputs=3, **parts).chain == ("l", "f")
    assert read(inputs=7, **parts).chain == ("f", "l")


def test_what_may_be_a_table_is_refused():
    words = r"e.weight has no bias, and may be the table of an nn.Embedding\); say it"
    with pytest.raises(WordlineError, match=words):
        read(e=nn.Embedding(20, 7), l=lstm(7))
    assert len(read(l=lstm(5), f=nn.Linear(7, 3, bias=False)).head[0]) == 3


STRANGE = {
    "l.weight_hh_l0_orig": "it is pruned; make that permanent with torch.nn.utils.prune.remove",
    "l.parametrizations.weight_hh_l0.original0": "remove_parametrizations",
    "l.module.weight_hh_l0_raw": "dropped at random",
    "f.weight_g": "remove_weight_norm",
    "bn.running_mean": "a normalisation layer; train the network without",
    "l.analog_ctx": "an analog tile",
    "cell.weight_ih": r"an nn.LSTMCell's .*, cell.weight_ih_l0",
    "conv.weight": r"with shape \(2,\) is of no linear layer",
}


@pytest.mark.parametrize("name", STRANGE)
def test_tensors_of_other_parts_are_refused_with_a_way_out(name):
    tensors = Net(l=lstm(5), f=nn.Linear(7, 3)).state_dict() | {name: torch.ones(2)}
    with pytest.raises(WordlineError, match=STRANGE[name]):
        from_state_dict(tensors)


def test_a_checkpoint_says_which_part_of_it_is_the_network():
    tensors = Net(l=lstm(5)).state_dict()
    with pytest.raises(WordlineError, match=r"save the one under 'model_state_dict' alone"):
        from_state_dict({"epoch": 3, "model_state_dict": tensors})


def test_every_permutation_of_the_parts_is_read_alike():
    """Whatever order a file has, sizes that fit in one order alone give the same network."""
    parts = {"a": lstm(5, 9), "b": lstm(9, 8), "c": nn.Linear(8, 3)}
    names = {read(**dict(own)).chain for own in itertools.permutations(parts.items())}
    assert names == {("a", "b", "c")}


def test_numbers_in_names_are_counted_where_a_file_sorts_them_as_text():
    parts = {f"lstm{n}": lstm(7) for n in (2, 9, 10)}
    assert read(made=False, **parts).chain == ("lstm2", "lstm9", "lstm10")


def test_many_parts_are_ordered_like_few():
    sizes = [5, 9, 7, 8, 6, 4, 3, 2]
    chain = {chr(122 - n): lstm(*pair) for n, pair in enumerate(itertools.pairwise(sizes))}
    for made in (True, False):
        backwards = dict(reversed([*chain.items()]))
        assert read(made=made, **backwards).chain == tuple(chain)
    same = {f"p{n}": nn.Linear(7, 7) for n in range(8)}
    with pytest.raises(WordlineError, match=r"fit in several orders\); say it: --order l,p0,"):
        read(l=lstm(7), **same)


def test_an_order_that_is_not_found_in_time_is_asked_for():
    hub = {f"p{n}": nn.Linear(7, 7) for n in range(12)}
    with pytest.raises(WordlineError, match=r"14 parts, too many .* say it: --order l,last,p0,"):
        read(l=lstm(7), last=nn.Linear(9, 9), **hub)
