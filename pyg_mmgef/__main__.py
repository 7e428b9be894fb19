"""``python -m pyg_mmgef`` is the command ``pyg-mmgef``."""

from pyg_mmgef.cli import main

if __name__ == '__main__':
    main()
