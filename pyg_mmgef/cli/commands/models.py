from pyg_mmgef.cli.show import show_models

__all__ = ['models']


def models() -> None:
    """List all models, with their own options of "train" and the defaults."""
    from pyg_mmgef.cli.models import listed_options
    from pyg_mmgef.cli.models import models as all_models
    from pyg_mmgef.cli.settings import flag

    show_models(
        {
            name: (
                str(model.__doc__).splitlines()[0],
                [
                    flag(option) if default is None else f'{flag(option)} {default}'
                    for option, default in listed_options(model).items()
                ],
            )
            for name, model in all_models().items()
        }
    )
