"""Aerofoils as tensors, in the units of the predictions."""

import torch

from noether_plugins.workbench.data import GROUPS, Units, held_out_aerofoils, training_set


def test_units_give_fields_of_mean_zero_and_spread_one_and_undo_it(batch):
    units = Units.of(batch)
    encoded = units.encode(batch.fields)
    decoded = units.decode(encoded)
    for name, field in batch.fields.items():
        assert encoded[name].mean(dim=(0, 1)).abs().max() < 1e-6
        assert torch.allclose(encoded[name].std(dim=(0, 1)), torch.ones(field.shape[-1]))
        assert torch.allclose(decoded[name], field, atol=1e-5)


def test_selected_samples_are_those_of_the_rows(batch):
    chosen = batch.select(torch.tensor([3, 0]))
    assert len(chosen) == 2
    assert chosen.inputs["volume"].equal(batch.inputs["volume"][[3, 0]])
    assert chosen.fields["pressure"].equal(batch.fields["pressure"][[3, 0]])


def test_aerofoils_have_the_groups_and_fields_that_the_model_is_made_for(small):
    train = training_set(small)
    assert len(train) == 3
    sizes = {"surface": 11, "volume": 13}
    for name, group in GROUPS.items():
        assert train.inputs[name].shape == (3, sizes[name], group.n_features)
        for field, width in group.fields.items():
            assert train.fields[field].shape == (3, sizes[name], width)


def test_held_out_aerofoils_are_none_of_the_training_set(small):
    surfaces = training_set(small).inputs["surface"][..., :2]
    held_out = torch.from_numpy(held_out_aerofoils(small).surface_positions)
    assert not any(each.allclose(other) for each in surfaces for other in held_out)
