import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pyg_mmgef._printable import printable, shortened
from pyg_mmgef.files import make_folder, write_atomically
from pyg_mmgef.report._about import about
from pyg_mmgef.report._catalogue_map import catalogue_map
from pyg_mmgef.report._comparison import comparison
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._for_whom import for_whom
from pyg_mmgef.report._groups import groupings
from pyg_mmgef.report._headline import headline, hero, how_measured
from pyg_mmgef.report._new_products import new_products
from pyg_mmgef.report._people import people
from pyg_mmgef.report._reach import reach
from pyg_mmgef.report._similar import similar_products
from pyg_mmgef.report._training import training
from pyg_mmgef.validate import check_not_negative

if TYPE_CHECKING:
    import jinja2

    from pyg_mmgef.runs.run import Run

__all__ = ['write_report']


def write_report(
    run: 'Run',
    path: str | os.PathLike[str],
    num_users: int = 5,
    num_items: int = 5,
    *,
    title: str | None = None,
    category: str | None = None,
    verb: str = 'chose',
) -> None:
    """Write a report about a run as one HTML page that needs nothing else, to share.

    It begins with what the recommendations find, beside best-sellers, and shows some people with
    their recommendations and the reasons, new products and who would get them, a map of the
    catalogue, the results beside simpler models, for whom and for what they hold, what is shown of
    the catalogue, similar products, the training, and the data. A section without content is left
    out. The page has no script and loads nothing; whatever ids and texts hold is shown as text.

    The numbers are those of the test part; of more than 10,000 people, as many are sampled, and the
    page says so. The map shows at most 1,500 products.

    Args:
        run: The run.
        path: The file to write.
        num_users: People to show, sampled with the run's seed from those with a test interaction.
            (default: ``5``)
        num_items: Products to show with similar ones, sampled from all with the same seed.
            (default: ``5``)
        title: Name of the shop; :obj:`None` means that of the dataset. (default: :obj:`None`)
        category: Field of the catalog by which results are grouped and the map is coloured;
            :obj:`None` looks for one. (default: :obj:`None`)
        verb: What people do with products, in the past, such as ``'bought'``.
            (default: ``'chose'``)

    Raises:
        ImportError: If what the extra ``cli`` installs is missing.
        ValueError: If there is no such field, a number is negative, or the run was trained on all
            interactions, so that nothing can be measured.
    """
    check_not_negative('num_users', num_users)
    check_not_negative('num_items', num_items)
    evidence, today = Evidence(run, category, verb), date.today()
    page = (
        _environment()
        .get_template('page.html.j2')
        .render(
            name=run.name if title is None else title,
            run=run,
            today=f'{today.day} {today:%B %Y}',
            verb=verb,
            k=evidence.k,
            choices=evidence.choices,
            headline=headline(evidence),
            hero=hero(evidence),
            how_measured=how_measured(evidence),
            people=people(evidence, num_users),
            new_products=new_products(evidence),
            map=catalogue_map(evidence),
            comparison=comparison(evidence),
            for_whom=for_whom(evidence),
            groupings=groupings(evidence),
            reach=reach(evidence),
            similar=similar_products(evidence, num_items),
            training=training(evidence),
            about=about(evidence),
        )
    )
    path = Path(path).expanduser()
    make_folder(path.parent)
    write_atomically(path, page.encode())


def _environment() -> 'jinja2.Environment':
    """Return templates that escape all that they are given and make it printable."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('pyg_mmgef.report'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # Of exactly this type: what the templates' own macros return is HTML.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters['shortened'] = shortened
    return environment
