from pyg_mmgef.encoders import ImageEncoder, PixelEncoder, TextEncoder, TitleEncoder


def test_the_encoders_follow_the_protocols() -> None:
    assert isinstance(PixelEncoder(), ImageEncoder)
    assert isinstance(TitleEncoder(), TextEncoder)
    assert not isinstance(PixelEncoder(), TextEncoder)
    assert not isinstance(TitleEncoder(), ImageEncoder)
