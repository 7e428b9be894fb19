"""What holds for the package as a whole: names, layout, direction of imports."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'pyg_mmgef'
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob('*.py'))

PUBLIC_NAMES = {
    'pyg_mmgef': ['Run', '__version__', 'fit', 'show_versions', 'versions'],
    'pyg_mmgef.sparse': ['CSRPair', 'edge_scores', 'layer_mean'],
    'pyg_mmgef.search': ['ItemIndex', 'SimilarItems', 'similar_items'],
    'pyg_mmgef.graph': ['co_interaction_graph', 'knn_graph'],
    'pyg_mmgef.nn': [
        'BPRLoss',
        'BipartiteLGConv',
        'EarlyFusion',
        'ItemGraphConv',
        'ItemGraphEncoder',
        'LightGCN',
        'MMGEF',
        'SoftEdgeFusion',
    ],
    'pyg_mmgef.explain': ['Explanation', 'Part', 'ScoreExplainer', 'explain_score'],
    'pyg_mmgef.transforms': [
        'AddCoInteractionGraph',
        'AddItemKNNGraph',
        'AddReverseInteractions',
        'FuseModalities',
        'MergeItemGraphs',
        'SplitColdItems',
        'SplitInteractions',
        'rolling_folds',
    ],
    'pyg_mmgef.presets': ['BEST', 'ITEM_DROPOUT', 'MERGED', 'PAPER', 'Preset'],
    'pyg_mmgef.exports': ['inner_product_index', 'new_version', 'write_thumbnails'],
    'pyg_mmgef.runs': [
        'DatasetFolder',
        'ItemTable',
        'Run',
        'RunData',
        'choose',
        'export',
        'fit',
        'recommend_all',
        'tune',
        'warm_up',
    ],
    'pyg_mmgef.report': ['write_report'],
    'pyg_mmgef.ranking': [
        'choose_cold_scale',
        'evaluate_cold_start',
        'evaluate_ranking',
        'new_interactions',
        'recommend',
        'recommend_to_parquet',
        'write_recommendations',
    ],
    'pyg_mmgef.loader': ['InteractionNeighborSampler', 'TripletLoader', 'TripletNeighborLoader'],
    'pyg_mmgef.distributed': [
        'ShardedModel',
        'export_checkpoint',
        'load_checkpoint',
        'process_group',
        'read_features',
        'read_interactions',
        'save_checkpoint',
        'sharded_co_interaction_graph',
        'sharded_evaluate_ranking',
        'sharded_knn_graph',
        'sharded_layer_mean',
        'sharded_recommend_to_parquet',
    ],
    'pyg_mmgef.encoders': ['FeatureStore', 'OpenCLIPEncoder', 'SentenceTransformerEncoder'],
    'pyg_mmgef.catalog': [
        'Catalog',
        'ContentWeights',
        'FoldIn',
        'HistoryFoldIn',
        'LeastSquaresFoldIn',
        'LinearFoldIn',
        'Reranked',
        'Rules',
        'item_covariance',
        'rerank',
        'score_spread',
    ],
    'pyg_mmgef.serving': ['Engine', 'Settings', 'load_export', 'make_app', 'serve'],
    'pyg_mmgef.tables': ['Table', 'find_columns', 'open_table'],
    'pyg_mmgef.datasets': [
        'AmazonReviews',
        'HMFashion',
        'IdMap',
        'InteractionTables',
        'LightGCNFolder',
        'MMRecFolder',
        'MicroLens',
        'MovieLens',
        'SyntheticShop',
    ],
    'pyg_mmgef.training': [
        'AtomicCheckpointIO',
        'InteractionDataModule',
        'RankingModule',
        'make_trainer',
    ],
}

# Public modules without a test file of their own, and where they are tested instead.
TESTED_ELSEWHERE = {
    'runs/baselines.py': 'the columns beside each run of tests/runs/test_models.py',
    'typing.py': 'type aliases alone, checked by mypy',
    'ranking/scoring.py': 'the inside of tests/ranking/test_evaluate.py and test_recommend.py',
    **{
        f'distributed/{name}.py': 'one of the checks of tests/distributed/test_shards.py'
        for name in (
            *('co_interaction', 'knn_graph', 'normalize', 'propagation', 'ranking'),
            *('sharded_data', 'sharded_triplet_loader', 'serving_export'),
        )
    },
    'encoders/missing_item.py': 'what the reports in tests/encoders/test_store.py list',
    'encoders/picture_problem.py': 'the table of tests/encoders/test_hostile_pictures.py',
    'runs/plots.py': 'the picture in a run of tests/cli/test_app.py',
    'cli/commands/serve.py': 'the command of tests/serving/test_server.py',
    'cli/prepare_dataset.py': 'the command of tests/cli/test_app.py',
    'cli/show_inputs.py': 'what tests/cli/test_inputs.py reads',
    'runs/fit.py': 'what tests/runs/test_run.py fits',
    'runs/run_data.py': 'the data of the runs in tests/runs/test_run.py',
    'settings.py': 'the options of tests/cli/test_settings.py',
    **{
        f'cli/commands/{name}.py': f'one of the commands that tests/cli runs: {name}'
        for name in (
            *('compare', 'evaluate', 'explain', 'export', 'info', 'models', 'prepare', 'refit'),
            *('recommend', 'report', 'similar', 'train', 'tune', 'update'),
        )
    },
    'explain/part.py': 'the parts of tests/explain/test_score_explainer.py',
    'nn/models/cease.py': 'one of the two models of tests/nn/models/test_ease.py',
    'nn/models/content_ials.py': 'one of the two models of tests/nn/models/test_ials.py',
    'nn/parts/content_features.py': 'the content of tests/nn/parts/test_content_map.py',
    'nn/parts/histories.py': 'what tests/nn/models/test_ease.py and test_item_knn.py multiply',
    'nn/conv/weighted_sum_conv.py': 'the base class in the tests of both convolutions',
}

# What each part may import of the package, besides itself. Arrows point one way.
BASE = {'typing', 'validate', '_spelling'}
MAY_IMPORT = {
    'typing': set(),
    'files': set(),
    '_spelling': set(),
    '_printable': set(),
    '_folders': {'_spelling'},
    '_encoder_specs': {'encoders'},
    'settings': set(),
    'validate': {'_spelling'},
    'schema': BASE,
    '_describe': set(),
    '_threads': {'validate'},
    '_extension': set(),
    '_versions': {'_extension'},
    'sparse': BASE | {'_extension'},
    'search': BASE | {'files', '_threads', '_extension', 'sparse'},
    'graph': BASE | {'_threads', '_extension', 'sparse', 'search'},
    'ranking': BASE | {'files', '_threads', 'sparse', 'search'},
    'loader': BASE | {'_extension', 'schema'},
    'distributed': BASE
    | {'_threads', 'catalog', 'exports', 'files', 'graph', 'loader', 'nn', 'ranking'}
    | {'schema', 'search', 'sparse'},
    'nn': BASE | {'_describe', 'catalog', 'files', 'schema', 'sparse', 'search', 'graph'},
    'explain': BASE | {'schema', 'catalog', 'nn'},
    'transforms': BASE | {'_describe', 'schema', 'graph', 'nn'},
    'presets': {'schema', 'nn', 'transforms'},
    'exports': BASE | {'_spelling', 'catalog', 'files', 'search', 'encoders'},
    'encoders': BASE | {'files'},
    'tables': {'_spelling'},
    'catalog': {'_spelling', 'files', 'tables'},
    'serving': {'catalog', 'files'},
    'datasets': BASE
    | {'catalog', 'files', 'schema', 'sparse', 'graph', 'encoders', 'transforms', 'tables'},
}
STANDS_ON_TOP = {'training', 'runs', 'report', 'cli', 'main', '__main__'}


def part_of(module: Path) -> str:
    return module.parts[0].removesuffix('.py')


def listed_names(module: Path) -> list[str]:
    """The names in ``__all__`` of a module."""
    for node in ast.parse((PACKAGE / module).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__':
            assert isinstance(node.value, ast.List)
            return [str(name.value) for name in node.value.elts if isinstance(name, ast.Constant)]
    return []


def imported_parts(module: Path) -> Iterator[str]:
    """The parts of the package that a module imports, also inside of functions."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{module} has a relative import, which this test cannot follow'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        for name in names:
            first, *rest = name.split('.')
            if first == 'pyg_mmgef' and rest and not rest[0].startswith('__version'):
                yield rest[0]


def test_modules_are_found() -> None:
    assert Path('graph/knn.py') in MODULES
    assert listed_names(Path('graph/knn.py')) == ['knn_graph']
    assert 'search' in set(imported_parts(Path('graph/knn.py')))


@pytest.mark.parametrize('name', sorted(PUBLIC_NAMES))
def test_names_that_stay(name: str) -> None:
    module = importlib.import_module(name)
    for public in PUBLIC_NAMES[name]:
        assert public in module.__all__
        assert hasattr(module, public)


@pytest.mark.parametrize('module', MODULES, ids=str)
def test_listed_names_exist(module: Path) -> None:
    names = listed_names(module)
    parts = ['pyg_mmgef', *module.with_suffix('').parts]
    loaded = importlib.import_module('.'.join(parts).removesuffix('.__init__'))
    assert all(hasattr(loaded, name) for name in names)
    assert len(names) == len(set(names))


def test_ships_its_types() -> None:
    assert (PACKAGE / 'py.typed').is_file()


@pytest.mark.parametrize('module', MODULES, ids=str)
def test_public_module_has_a_test_file(module: Path) -> None:
    if module.name.startswith('_') or not listed_names(module):
        pytest.skip('private, or nothing public in it')
    test = ROOT / 'tests' / module.parent / f'test_{module.name}'
    if module.as_posix() in TESTED_ELSEWHERE:
        assert not test.exists(), 'take it off the list of exceptions'
        return
    assert test.is_file(), f'{module} has no tests/{module.parent}/test_{module.name}'


def test_exceptions_exist() -> None:
    assert set(TESTED_ELSEWHERE) <= {module.as_posix() for module in MODULES}


@pytest.mark.parametrize('module', MODULES, ids=str)
def test_imports_run_one_way(module: Path) -> None:
    part = part_of(module)
    imported = set(imported_parts(module)) - {part}
    assert not imported & STANDS_ON_TOP or part in STANDS_ON_TOP | {'__init__'}
    assert 'cli' not in imported or part in {'cli', '__main__'}
    if part in STANDS_ON_TOP or part == '__init__':
        return
    assert part in MAY_IMPORT, f'say in this test what {part} may import'
    assert imported <= MAY_IMPORT[part]


def test_layers_leave_torch_scatter_and_torch_sparse_alone() -> None:
    for module in MODULES:
        source = (PACKAGE / module).read_text()
        assert not re.search(r'^\s*(import|from) torch_(scatter|sparse)\b', source, re.MULTILINE)


@pytest.mark.parametrize('first', ['torch', 'faiss'])
def test_torch_and_faiss_in_either_order(first: str) -> None:
    script = (
        f'import {first}, torch, faiss\n'
        'from pyg_mmgef.graph import knn_graph\n'
        'x = torch.randn(500, 32, generator=torch.Generator().manual_seed(0))\n'
        "by_faiss, by_torch = (knn_graph(x, 5, backend=name) for name in ('faiss_flat', 'exact'))\n"
        'assert torch.equal(by_faiss[0], by_torch[0])\n'
        'x.requires_grad_(); (x @ x.t()).sum().backward()\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_importing_leaves_global_state_alone() -> None:
    script = (
        'import warnings, torch, torch_geometric\n'
        'state = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()\n'
        'filters = list(warnings.filters)\n'
        'import pyg_mmgef.graph, pyg_mmgef.nn, pyg_mmgef.transforms, pyg_mmgef.ranking\n'
        'import pyg_mmgef.loader, pyg_mmgef.schema\n'
        'assert torch.equal(torch.get_rng_state(), state[0])\n'
        'assert (torch.get_num_threads(), torch.get_default_dtype()) == state[1:]\n'
        'assert [f for f in filters if f not in warnings.filters] == []\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ''
