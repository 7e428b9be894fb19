"""The two numbers of the default model that are chosen on validation before it is trained."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

from pyg_mmgef._folders import CONFIG
from pyg_mmgef._spelling import spelt
from pyg_mmgef.nn import Recommender
from pyg_mmgef.runs._say import Say
from pyg_mmgef.runs.choose import candidates, choose
from pyg_mmgef.runs.models import NEIGHBORS
from pyg_mmgef.runs.run import fitting_cutoffs
from pyg_mmgef.runs.run_folder import RunFolder
from pyg_mmgef.runs.sizes import num_trials, sampled_users
from pyg_mmgef.runs.splits import Split
from pyg_mmgef.settings import DEFAULT_MODEL, Settings
from pyg_mmgef.transforms import AddCoInteractionGraph

__all__ = ['CHOSEN', 'best_options']

CHOSEN = 'l2', 'unobserved_weight'


def best_options(
    settings: Settings, given: Settings, split: Split, say: Say, folder: Path | None = None
) -> tuple[Settings, Recommender | None]:
    """Return settings with the penalty and the weight that are best on validation, and the model.

    The values of :func:`~pyg_mmgef.runs.candidates` are tried, all of them unless there is a
    budget or there are many interactions, so the choice doesn't depend on the speed of the machine.
    If the folder has a run that was started with the same settings, its values are used. Settings
    of other models, or with one of the two given, stay as they are.

    Args:
        settings: Completed settings.
        given: The options as given.
        split: The train, validation and test data; test isn't read.
        say: Called with each line to print.
        folder: The folder of the run. (default: :obj:`None`)

    Returns:
        The settings, and the solved model of the best trial; :obj:`None` if none was tried.

    Raises:
        ValueError: If there is a budget, but nothing to choose.
    """
    named = [name for name in CHOSEN if getattr(given, name) is not None]
    has_choice = settings.model == DEFAULT_MODEL and settings.preset is None
    if given.budget and not has_choice:
        raise ValueError(
            f'{spelt("budget")} is an option of the model {DEFAULT_MODEL!r}; leave it out'
        )
    if given.budget and named:
        raise ValueError(
            f'{spelt(named[0])} is chosen within {spelt("budget")}; leave one of them out'
        )
    if not has_choice or named or given.budget == 0:
        return settings, None
    if folder is not None and (folder / CONFIG).is_file():
        old = RunFolder(folder).settings
        if replace(settings, **{name: getattr(old, name) for name in CHOSEN}) == old:
            return old, None
    fixed = {'embedding_dim': settings.embedding_dim, 'content_weight': settings.content_weight}
    graph = AddCoInteractionGraph(settings.neighbors or NEIGHBORS)
    presets = {
        name: replace(
            preset,
            options={**preset.options, **fixed, **settings.options},
            transforms=(graph,),
        )
        for name, preset in islice(candidates(split[0]).items(), num_trials(given, split[0]))
    }
    cutoff = fitting_cutoffs(split[0]['item'].num_nodes)[-1]
    say(f'solving it {len(presets)} times, to choose {" and ".join(CHOSEN)} on validation')
    val = sampled_users(split[1], settings.val_users, settings.seed)
    choice = choose(split[0], val, presets, budget=settings.budget, k=cutoff, say=say)
    tried, best = len(choice.recalls), choice.recalls[choice.name]
    say(
        f'tried {tried} of {len(presets)} values on validation: {choice.name} is best, '
        f'recall@{cutoff} {best:.4f}'
    )
    chosen = {name: choice.preset.options[name] for name in CHOSEN}
    return replace(settings, **chosen), choice.model
