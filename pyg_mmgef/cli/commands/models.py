from pyg_mmgef.cli.show import show_models

__all__ = ['models']


def models() -> None:
    """List all models, with their own options of "train" and the defaults."""
    from pyg_mmgef._spelling import as_option
    from pyg_mmgef.runs.models import listed_options
    from pyg_mmgef.runs.models import models as all_models

    show_models(
        {
            name: (
                str(model.__doc__).splitlines()[0],
                [
                    as_option(option) if default is None else f'{as_option(option)} {default}'
                    for option, default in listed_options(model).items()
                ],
            )
            for name, model in all_models().items()
        }
    )
