"""What a shop past these machines would cost: a model, fitted here and checked on a larger shop.

    python benchmarks/scaling_plan --output docs/scaling
    python benchmarks/scaling_plan --output docs/scaling --page docs

The first measures stages at 10^5 to 10^6 items, fits the constants, measures 10^7 items beside the
prediction, and collectives of two and four processes; it takes about 20 minutes, 20 GB of memory
and a quiet machine. With ``--page``, nothing is measured: ``scaling.rst`` in that folder is made of
the results that lie in the folder of the output.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # The other benchmarks lie beside this folder.

import torch
from common import parser, read_json, write_json
from experiments.rst import write_page


def main() -> None:
    arguments = parser(str(__doc__), page=True)
    arguments.add_argument('--alone', nargs=4, help='a stage, shop, channels and repeats')
    arguments.add_argument('--together', nargs=2, help='be one of the processes of a task')
    args = arguments.parse_args()
    if args.together:
        from scaling_plan.together import work_together

        work_together(args.together[0], json.loads(args.together[1]))
    elif args.alone:
        from scaling_plan.shop import Shop
        from scaling_plan.stages import run_stage

        torch.set_num_threads(args.threads)
        stage, shop, channels, repeats = args.alone
        found = run_stage(stage, Shop(*json.loads(shop)), int(channels), int(repeats))
        print(json.dumps(found))
    elif args.page:
        from scaling_plan.page import page

        content = read_json(args.output / 'measured.json')
        write_page(args.page / 'scaling.rst', page(content))
    else:
        from scaling_plan.measure import measure

        torch.set_num_threads(args.threads)
        measure(args.quick, args.threads, lambda x: write_json(args.output / 'measured.json', x))


if __name__ == '__main__':
    main()
