"""Pictures become partitioned features, with Ray Data.

python examples/partition/pictures_ray.py pictures.parquet partitioned/pictures --workers 4 --gpus 1

The column `item` holds row ids, as in the table `items` that `interactions_ray.py` writes. Each
worker holds an encoder. Pictures that can't be read get no row; `read_features` marks these items
as missing.

Needs `pip install "ray[data]" "pyg-mmgef[clip]"`. The weights of CLIP are downloaded; with
`--weights none` there are none, and the vectors describe colours and edges alone.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import ray

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('pictures', help='Parquet with the columns item, a row id, and path')
parser.add_argument('output', type=Path)
parser.add_argument('--weights', default='laion2b_s34b_b79k', help="of CLIP; 'none' needs none")
parser.add_argument('--workers', type=int, default=1, help='encoders that work at a time')
parser.add_argument('--gpus', type=float, default=0, help='GPUs of each, such as 1')
args = parser.parse_args()


class Encode:
    """Encodes batches of pictures; made once in each worker."""

    def __init__(self, weights: str) -> None:
        from pyg_mmgef.encoders import ImageEncoder, OpenCLIPEncoder, PixelEncoder

        self.encoder: ImageEncoder
        self.encoder = PixelEncoder() if weights == 'none' else OpenCLIPEncoder(pretrained=weights)

    def __call__(self, part: pa.Table) -> pa.Table:
        """Return the items whose picture could be read, and their vectors in half precision."""
        x, has = self.encoder.encode_images(part['path'].to_pylist())
        values = pa.array(x[has].half().flatten().numpy())
        rows = pa.FixedSizeListArray.from_arrays(values, x.size(1))
        return pa.table({'item': part['item'].filter(pa.array(has.numpy())), 'x': rows})


pictures = ray.data.read_parquet(str(Path(args.pictures).resolve()))
features = (
    pictures.select_columns(['item', 'path'])
    .repartition(4 * args.workers)
    .map_batches(
        Encode,
        fn_constructor_args=(args.weights,),
        batch_format='pyarrow',
        batch_size=256,
        num_gpus=args.gpus,
        compute=ray.data.ActorPoolStrategy(size=args.workers),
    )
)
features.write_parquet(str(args.output.resolve()))
