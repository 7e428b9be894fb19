import importlib
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.files import read_json
from pyg_mmgef.nn import ContentIALS
from pyg_mmgef.presets import BEST, MERGED, PAPER, Preset
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.runs import candidates, choose
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.transforms import SplitInteractions
from tests.transforms.shops import random_shop

choose_module = importlib.import_module('pyg_mmgef.runs.choose')
TRAIN, VAL, _ = SplitInteractions(seed=0)(random_shop())
PRESETS = {
    'knn': Preset('ItemKNN', {'k': 5}),
    'popularity': Preset('Popularity'),
    'ease': Preset('EASE', {'l2': 10.0}),
}


def recall_of(preset: Preset) -> float:
    data = preset.transform()(TRAIN)
    z_user, z_item = preset.model(data).eval()(data)
    target, exclude = VAL[INTERACTS].edge_label_index, TRAIN[INTERACTS].edge_index
    return evaluate_ranking(z_user, z_item, target, exclude=exclude, k=5, metrics='recall')[
        'recall@5'
    ]


def test_the_best_on_validation_is_chosen() -> None:
    choice = choose(TRAIN, VAL, PRESETS, k=5)
    assert choice.recalls == {name: recall_of(preset) for name, preset in PRESETS.items()}
    best = max(choice.recalls.values())
    assert choice.name == next(name for name, value in choice.recalls.items() if value == best)
    assert choice.preset is PRESETS[choice.name]
    assert type(choice.model).__name__ == choice.preset.recommender


def test_models_are_trained_with_graphs_of_their_own() -> None:
    before = torch.get_rng_state()
    presets = {'paper': PAPER, 'merged': MERGED}
    choice = choose(TRAIN, VAL, presets, k=5, epochs=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert ('item', 'co_interacts', 'item') in choice.train.edge_types
    assert ('item', 'co_interacts', 'item') not in TRAIN.edge_types
    again = choose(TRAIN, VAL, presets, k=5, epochs=2)
    assert again.recalls == choice.recalls
    for a, b in zip(again.model(again.train), choice.model(choice.train), strict=True):
        torch.testing.assert_close(a, b)


def test_a_journal_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / 'choice.json'
    whole = choose(TRAIN, VAL, PRESETS, k=5)
    first = choose(TRAIN, VAL, dict(list(PRESETS.items())[:2]), k=5, journal=journal)
    assert len(read_json(journal, '')) == 2
    trained: list[str] = []
    train = choose_module._trained

    def spy(preset: Preset, *args: object) -> object:
        trained.append(preset.recommender)
        return train(preset, *args)

    monkeypatch.setattr(choose_module, '_trained', spy)
    second = choose(TRAIN, VAL, PRESETS, k=5, journal=journal)
    assert second.recalls == whole.recalls
    assert second.name == whole.name
    is_new = second.name == 'ease'
    assert trained == (['EASE'] if is_new else ['EASE', PRESETS[second.name].recommender])
    assert first.recalls.items() <= second.recalls.items()
    trained.clear()
    choose(TRAIN, VAL, PRESETS, k=4, journal=journal)  # Of another cut-off, other trials.
    assert trained[:3] == ['ItemKNN', 'Popularity', 'EASE']
    journal.write_text(journal.read_text().replace('0.', '1.', 1))
    with pytest.raises(ValueError, match=r'choice.json. is damaged .* delete it to try all'):
        choose(TRAIN, VAL, PRESETS, k=4, journal=journal)


def test_a_budget_stops_new_trials() -> None:
    choice = choose(TRAIN, VAL, PRESETS, k=5, budget=1e-9)
    assert list(choice.recalls) == ['knn']
    assert choice.name == 'knn'


def test_candidates_begin_with_the_best_preset() -> None:
    presets = candidates(TRAIN)
    assert len(presets) == 9
    first = next(iter(presets.values()))
    model, best = first.model(TRAIN), BEST.model(TRAIN)
    assert isinstance(model, ContentIALS)
    assert repr(model) == repr(best)
    choice = choose(TRAIN, VAL, k=5, budget=1e-9)
    assert list(choice.recalls) == [next(iter(presets))]


def test_data_without_features() -> None:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 30, 25
    edges = torch.randint(25, (2, 200), generator=torch.Generator().manual_seed(0)).unique(dim=1)
    data[INTERACTS].edge_index = edges
    train, val, _ = SplitInteractions(seed=0)(data)
    choice = choose(train, val, {'best': BEST}, k=5)
    assert 0 <= choice.recalls['best'] <= 1


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="'presets' is empty"):
        choose(TRAIN, VAL, {})
    with pytest.raises(ValueError, match="'budget' must be positive"):
        choose(TRAIN, VAL, budget=0)
