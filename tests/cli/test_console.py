from pyg_mmgef.cli.console import plain, printable


def test_nothing_steers_the_terminal() -> None:
    assert printable('a\x1b[31mb\u202ec\x9bd') == 'a\ufffd[31mb\ufffdc\ufffdd'
    assert printable('tab\tline\nÄ 漢 🙂‍↔️') == 'tab\tline\nÄ 漢 🙂‍↔️'


def test_nothing_is_markup() -> None:
    assert plain('[bold]x[/bold] [/y]').plain == '[bold]x[/bold] [/y]'
