from pyg_mmgef.cli.show import show_models

__all__ = ['models']


def models() -> None:
    """List the models and the options of "train" that each of them takes."""
    from pyg_mmgef.cli.models import listed_options
    from pyg_mmgef.cli.models import models as all_models
    from pyg_mmgef.cli.settings import flag

    show_models(
        {
            name: (str(model.__doc__).splitlines()[0], list(map(flag, listed_options(model))))
            for name, model in all_models().items()
        }
    )
