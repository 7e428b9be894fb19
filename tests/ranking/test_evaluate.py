import math

import pytest
import torch
from torch import Tensor
from torch_geometric.metrics import LinkPredMetricCollection

from pyg_mmgef.ranking import evaluate_ranking, per_user_metrics, top_lists
from tests.ranking.test_metrics import PYG
from tests.references import ranking_metrics

Sets = dict[int, set[int]]


def random_case(num_users: int = 17, num_items: int = 23, seed: int = 0) -> dict[str, Tensor]:
    """Embeddings, and disjoint target and exclude; users 0 and 9 have no target."""
    generator = torch.Generator().manual_seed(seed)
    part = torch.rand(num_users, num_items, generator=generator)
    target = part < 0.15
    target[[0, 9]] = False
    exclude = (part > 0.6) & ~target
    return {
        'z_user': torch.randn(num_users, 5, generator=generator),
        'z_item': torch.randn(num_items, 5, generator=generator),
        'target': target.nonzero().t(),
        'exclude': exclude.nonzero().t(),
    }


def as_sets(pairs: Tensor) -> Sets:
    out: Sets = {}
    for user, item in pairs.t().tolist():
        out.setdefault(user, set()).add(item)
    return out


def evaluate(
    case: dict[str, Tensor],
    k: int | tuple[int, ...],
    batch_size: int = 1024,
    candidates: Tensor | None = None,
) -> dict[str, float]:
    return evaluate_ranking(
        case['z_user'],
        case['z_item'],
        case['target'],
        exclude=case.get('exclude'),
        k=k,
        candidates=candidates,
        batch_size=batch_size,
    )


def expected_metrics(
    case: dict[str, Tensor], cutoffs: tuple[int, ...], candidates: set[int] | None = None
) -> dict[str, float]:
    scores = case['z_user'] @ case['z_item'].t()
    target, exclude = as_sets(case['target']), as_sets(case['exclude'])
    out = {}
    for k in cutoffs:
        out.update(ranking_metrics(scores, target, exclude, k, candidates))
    return out


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('cutoffs', [(1,), (5, 2), (10, 20), (23,)])
@pytest.mark.parametrize('batch_size', [1, 4, 1024])
def test_equals_the_oracle(seed: int, cutoffs: tuple[int, ...], batch_size: int) -> None:
    case = random_case(seed=seed)
    out = evaluate(case, k=cutoffs, batch_size=batch_size)
    assert out == pytest.approx(expected_metrics(case, cutoffs))
    assert set(out) == {f'{name}@{k}' for name in ('recall', 'precision', 'ndcg') for k in cutoffs}


@pytest.mark.usefixtures('way')
def test_without_exclude() -> None:
    case = random_case()
    case['exclude'] = torch.empty(2, 0, dtype=torch.long)
    expected = pytest.approx(expected_metrics(case, (3, 7)))
    assert evaluate(case, k=(3, 7)) == expected
    del case['exclude']
    assert evaluate(case, k=(3, 7)) == expected


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('batch_size', [3, 1024])
def test_candidates(batch_size: int) -> None:
    case = random_case()
    candidates = torch.tensor([20, 3, 5, 8, 13, 3, 0, 22, 7])  # In any order, some repeated.
    keep = torch.isin(case['target'][1], candidates)
    case['target'] = case['target'][:, keep]
    out = evaluate(case, k=(2, 8), candidates=candidates, batch_size=batch_size)
    assert out == pytest.approx(expected_metrics(case, (2, 8), set(candidates.tolist())))


@pytest.mark.usefixtures('way')
def test_users_with_fewer_items_left_than_k() -> None:
    case = random_case()
    everything = torch.cartesian_prod(torch.arange(17), torch.arange(23)).t()
    mine = as_sets(case['target'])
    keep = [item not in mine.get(user, set()) for user, item in everything.t().tolist()]
    case['exclude'] = everything[:, torch.tensor(keep)]  # Only targets are left to rank.
    out = evaluate(case, k=20)
    assert out == pytest.approx(expected_metrics(case, (20,)))
    assert out['recall@20'] == out['ndcg@20'] == 1


@pytest.mark.usefixtures('way')
def test_by_hand() -> None:
    z_user, z_item = torch.tensor([[1.0]]), torch.tensor([[5.0], [4.0], [3.0], [2.0], [1.0]])
    # Ranked 1, 2, 3, 4 after item 0 is excluded; hits at ranks 2 and 4.
    target, exclude = torch.tensor([[0, 0], [2, 4]]), torch.tensor([[0], [0]])
    out = evaluate_ranking(z_user, z_item, target, exclude=exclude, k=(1, 2, 4))
    ideal = 1 + 1 / math.log2(3)
    assert out == pytest.approx(
        {
            'recall@1': 0,
            'precision@1': 0,
            'ndcg@1': 0,
            'recall@2': 1 / 2,
            'precision@2': 1 / 2,
            'ndcg@2': (1 / math.log2(3)) / ideal,
            'recall@4': 1,
            'precision@4': 2 / 4,
            'ndcg@4': (1 / math.log2(3) + 1 / math.log2(5)) / ideal,
        }
    )


def test_users_without_targets_do_not_count() -> None:
    z_user, z_item = torch.eye(3), torch.eye(3)
    assert evaluate_ranking(z_user, z_item, torch.tensor([[1], [1]]), k=1)['recall@1'] == 1
    # Nor do their embeddings or their exclusions.
    z_user[0] = 100
    out = evaluate_ranking(
        z_user, z_item, torch.tensor([[1], [1]]), exclude=torch.tensor([[0, 0], [0, 1]]), k=1
    )
    assert out['recall@1'] == 1


@pytest.mark.usefixtures('way')
def test_order_and_repetition_of_pairs_do_not_matter() -> None:
    case = random_case()
    expected = evaluate(case, k=5, batch_size=4)
    for name in ('target', 'exclude'):
        pairs = torch.cat([case[name], case[name][:, ::2]], dim=1)
        order = torch.randperm(pairs.size(1), generator=torch.Generator().manual_seed(1))
        case[name] = pairs[:, order]
    assert evaluate(case, k=5, batch_size=4) == pytest.approx(expected)


@pytest.mark.usefixtures('way')
def test_int32_ids_and_a_single_cutoff() -> None:
    case = random_case()
    expected = evaluate(case, k=(5,))
    case['target'], case['exclude'] = case['target'].int(), case['exclude'].int()
    assert evaluate(case, k=5) == expected


def test_leaves_gradients_and_inputs_alone() -> None:
    case = random_case()
    before = {name: value.clone() for name, value in case.items()}
    case['z_user'].requires_grad_()
    evaluate(case, k=5)
    assert case['z_user'].grad is None
    assert all(torch.equal(case[name], before[name]) for name in case)


@pytest.mark.usefixtures('way')
def test_user_by_user() -> None:
    case = random_case()
    order = torch.randperm(case['target'].size(1), generator=torch.Generator().manual_seed(1))
    users, values = per_user_metrics(
        case['z_user'], case['z_item'], case['target'][:, order], exclude=case['exclude'], k=(3, 9)
    )
    scores = case['z_user'] @ case['z_item'].t()
    target, exclude = as_sets(case['target']), as_sets(case['exclude'])
    assert users.tolist() == sorted(target)
    for place, user in enumerate(users.tolist()):
        mine = {user: target[user]}
        expected = {
            **ranking_metrics(scores, mine, exclude, 3),
            **ranking_metrics(scores, mine, exclude, 9),
        }
        assert {name: float(value[place]) for name, value in values.items()} == pytest.approx(
            expected
        )
    assert evaluate(case, k=(3, 9)) == pytest.approx(
        {name: float(value.mean()) for name, value in values.items()}
    )


@pytest.mark.usefixtures('way')
def test_chosen_metrics_equal_pyg() -> None:
    case = random_case(num_users=60, num_items=90)
    names = ('mrr', 'recall', 'map', 'hit_ratio', 'precision', 'ndcg')
    out = evaluate_ranking(
        case['z_user'],
        case['z_item'],
        case['target'],
        exclude=case['exclude'],
        k=(10, 20),
        metrics=names,
    )
    scores = case['z_user'] @ case['z_item'].t()
    scores[case['exclude'][0], case['exclude'][1]] = -math.inf
    metrics = LinkPredMetricCollection(
        {f'{name}@{k}': PYG[name](k) for name in names for k in (10, 20)}
    )
    metrics.update(scores.topk(20, dim=1).indices, case['target'])
    expected = {name: float(value) for name, value in metrics.compute().items()}
    assert out == pytest.approx(expected, rel=1e-6)
    assert list(out) == list(expected)


def test_one_metric_by_name() -> None:
    case = random_case()
    one = evaluate_ranking(case['z_user'], case['z_item'], case['target'], k=5, metrics='recall')
    assert list(one) == ['recall@5']
    assert (
        one['recall@5']
        == evaluate_ranking(case['z_user'], case['z_item'], case['target'], k=5)['recall@5']
    )


@pytest.mark.usefixtures('way')
def test_targets_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case()
    expected = evaluate(case, k=(2, 9))
    monkeypatch.setattr(top_lists, 'BLOCK_TARGETS', 5)
    assert evaluate(case, k=(2, 9)) == expected


class TestMistakes:
    def check(self, message: str, **changes: object) -> None:
        arguments = {**random_case(), 'k': 5, **changes}
        with pytest.raises(ValueError, match=message):
            evaluate_ranking(**arguments)  # type: ignore[arg-type]

    def test_target_and_exclude_overlap(self) -> None:
        case = random_case()
        exclude = torch.cat([case['exclude'], case['target'][:, :2]], dim=1)
        self.check("'target' and 'exclude' share 2 interactions", exclude=exclude)

    def test_empty_target(self) -> None:
        self.check("'target' is empty", target=torch.empty(2, 0, dtype=torch.long))

    @pytest.mark.parametrize('name', ['z_user', 'z_item'])
    @pytest.mark.parametrize('value', [math.nan, math.inf])
    def test_embeddings_not_finite(self, name: str, value: float) -> None:
        z = random_case()[name]
        z[3, 0] = value
        self.check(rf"'{name}' holds NaN or infinite values in 1 of", **{name: z})

    @pytest.mark.parametrize('name', ['z_user', 'z_item'])
    def test_embeddings_whose_products_overflow(self, name: str) -> None:
        z = random_case()[name] * 1e25
        self.check(rf"'{name}' holds numbers as large as \de\+25, .* overflow", **{name: z})
        sparse = {name: z.to_sparse_csr() for name, z in random_case().items() if name[:2] == 'z_'}
        self.check(rf"'{name}' holds numbers as large as", **{**sparse, name: z.to_sparse_csr()})

    def test_embeddings_that_do_not_fit(self) -> None:
        self.check(
            "'z_user' and 'z_item' must have the same number of channels", z_item=torch.ones(23, 4)
        )
        self.check("'z_user' must be a floating point matrix", z_user=torch.ones(17))
        self.check("'z_item' must be a floating point matrix", z_item=torch.ones(23, 5).long())

    @pytest.mark.parametrize('name', ['target', 'exclude'])
    def test_ids(self, name: str) -> None:
        one = torch.tensor([[1], [1]])
        self.check(f"'{name}' holds the user id 17", **{name: one * torch.tensor([[17], [1]])})
        self.check(f"'{name}' holds the item id 23", **{name: one * torch.tensor([[1], [23]])})
        self.check(f"'{name}' holds the negative user id", **{name: -one})
        self.check(f"'{name}' must hold integer ids", **{name: one.float()})
        self.check(rf"'{name}' must have shape \[2, E\]", **{name: one[0]})

    @pytest.mark.parametrize('k', [24, (5, 24)])
    def test_k_beyond_the_items(self, k: int) -> None:
        self.check(r"'k' must lie in \[1, 23\]", k=k)

    @pytest.mark.parametrize('k', [0, -1, (5, 0), (2.0,)])
    def test_k_not_positive(self, k: int) -> None:
        self.check("'k' must be a positive integer", k=k)

    def test_no_k(self) -> None:
        self.check("'k' is empty", k=())

    def test_metrics(self) -> None:
        self.check("'metrics' must be one of 'recall', .* 'hit_ratio', .*got 'auc'", metrics='auc')
        self.check("got 'f1'", metrics=('recall', 'f1'))
        self.check("'metrics' is empty", metrics=())

    def test_candidates(self) -> None:
        candidates = torch.arange(10)
        self.check("'target' holds .* not among 'candidates'", candidates=candidates)
        self.check(r"'k' must lie in \[1, 10\]", k=11, candidates=candidates)
        self.check(r"'candidates' must hold item ids in \[0, 23\)", candidates=torch.arange(24))

    def test_batch_size(self) -> None:
        self.check("'batch_size' must be a positive integer", batch_size=0)
