import inspect
from pathlib import Path

from pyg_mmgef.nn import Recommender, models
from pyg_mmgef.nn.registry import recommenders


def test_every_model_file_is_found() -> None:
    files = [path for path in Path(str(models.__file__)).parent.glob('*.py') if path.name[0] != '_']
    homes = {Path(inspect.getfile(model)) for model in recommenders().values()}
    assert homes == {path for path in files if path.name != 'recommender.py'}


def test_each_is_a_model_under_its_own_name() -> None:
    for name, model in recommenders().items():
        assert model.__name__ == name
        assert issubclass(model, Recommender)
        assert callable(model.from_data)
