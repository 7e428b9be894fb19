"""A folder of the pictures that shops really have, and of those that break programs."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

__all__ = ['HOSTILE_PICTURES', 'HostilePicture']


class HostilePicture(NamedTuple):
    """How to make a file, and the reason why it is missing; :obj:`None` if it can be read."""

    name: str
    make: Callable[[Path], None]
    problem: str | None


def photo(height: int = 24, width: int = 30) -> Image.Image:
    """A colourful picture without a symmetry."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x * y) % 255], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def noise(size: int = 64) -> Image.Image:
    """A picture that doesn't compress, so that a cut loses pixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options: Any) -> Callable[[Path], None]:
    return lambda path: image.save(path, kind, **options)


def cut(kind: str, keep: float, image: Image.Image | None = None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (image or noise()).save(path, kind)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return make


def zeroed(kind: str, start: int, end: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        noise().save(path, kind)
        content = bytearray(path.read_bytes())
        content[start:end] = bytes(len(content[start:end]))
        path.write_bytes(content)

    return make


def written(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def box(brand: bytes) -> bytes:
    """The first bytes of the formats that began with QuickTime."""
    return struct.pack('>I4s4sI4s', 20, b'ftyp', brand, 0, brand) + bytes(100)


def with_junk_behind(path: Path) -> None:
    photo().save(path, 'JPEG')
    path.write_bytes(path.read_bytes() + b'junk')


def nothing(path: Path) -> None:
    """Leave the file out."""


def png_of_size(width: int, height: int) -> bytes:
    """A small PNG file that claims to hold many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum)

    header = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    row = bytes(1 + (width + 7) // 8)
    pixels = zlib.compress(row * min(height, 50))
    parts = [chunk(b'IHDR', header), chunk(b'IDAT', pixels), chunk(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def rotated(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def with_alpha(mode: str) -> Image.Image:
    image = photo().convert(mode)
    image.putalpha(Image.linear_gradient('L').resize(image.size))
    return image


def animation(kind: str) -> Callable[[Path], None]:
    frames = [photo().rotate(angle) for angle in (0, 90, 180)]
    return lambda path: frames[0].save(path, kind, save_all=True, append_images=frames[1:])


def linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n'
PALETTE = photo().convert('P', palette=Image.Palette.ADAPTIVE, colors=16)
DEEP = Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16))
INTEGERS = Image.fromarray(np.linspace(0, 255, 256, dtype=np.int32).reshape(16, 16))
FLOATS = Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16))

HOSTILE_PICTURES = [
    HostilePicture(*row)
    for row in [
        # What can be read.
        ('jpeg.jpg', saved(photo(), 'JPEG'), None),
        ('progressive.jpg', saved(photo(), 'JPEG', progressive=True), None),
        ('grey.jpg', saved(photo().convert('L'), 'JPEG'), None),
        ('cmyk.jpg', saved(photo().convert('CMYK'), 'JPEG'), None),
        ('rotated.jpg', saved(photo(), 'JPEG', exif=rotated(6)), None),
        ('mirrored.jpg', saved(photo(), 'JPEG', exif=rotated(5)), None),
        ('wrong_rotation.jpg', saved(photo(), 'JPEG', exif=rotated(99)), None),
        ('broken_exif.jpg', saved(photo(), 'JPEG', exif=b'Exif\0\0MM\0*\xff\xff\xff\xff'), None),
        ('junk_exif.jpg', saved(photo(), 'JPEG', exif=b'Exif\0\0junk'), None),
        ('png.png', saved(photo(), 'PNG'), None),
        ('alpha.png', saved(with_alpha('RGB'), 'PNG'), None),
        ('grey_alpha.png', saved(with_alpha('L'), 'PNG'), None),
        ('palette.png', saved(PALETTE, 'PNG'), None),
        ('palette_alpha.png', saved(PALETTE, 'PNG', transparency=0), None),
        ('transparent_colour.png', saved(photo(), 'PNG', transparency=(0, 0, 0)), None),
        ('one_bit.png', saved(photo().convert('1'), 'PNG'), None),
        ('sixteen_bits.png', saved(DEEP, 'PNG'), None),
        ('webp.webp', saved(photo(), 'WEBP'), None),
        ('alpha.webp', saved(with_alpha('RGB'), 'WEBP'), None),
        ('animated.webp', animation('WEBP'), None),
        ('animated.png', animation('PNG'), None),
        ('gif.gif', saved(PALETTE, 'GIF'), None),
        ('animated.gif', animation('GIF'), None),
        ('bmp.bmp', saved(photo(), 'BMP'), None),
        ('tiff.tif', saved(photo(), 'TIFF'), None),
        ('sixteen_bits.tif', saved(DEEP, 'TIFF'), None),
        ('one_pixel.png', saved(Image.new('RGB', (1, 1), 'red'), 'PNG'), None),
        ('long.png', saved(photo(4, 800), 'PNG'), None),
        ('png_named.jpg', saved(photo(), 'PNG'), None),
        ('jpeg_named.txt', saved(photo(), 'JPEG'), None),
        ('without_suffix', saved(photo(), 'JPEG'), None),
        ('näme with späce ☃.jpg', saved(photo(), 'JPEG'), None),
        ('link.jpg', linked('jpeg.jpg'), None),
        ('junk_behind.jpg', with_junk_behind, None),
        # What can't.
        ('truncated.jpg', cut('JPEG', 0.5), 'damaged'),
        ('nearly_whole.jpg', cut('JPEG', 0.97), 'damaged'),
        ('header_only.jpg', cut('JPEG', 0.02), 'not a picture|damaged'),
        ('truncated.png', cut('PNG', 0.5), 'damaged'),
        ('truncated.webp', cut('WEBP', 0.5), 'not a picture|damaged'),
        ('truncated.gif', cut('GIF', 0.5), 'damaged'),
        ('truncated.bmp', cut('BMP', 0.5), 'damaged'),
        ('truncated.tif', cut('TIFF', 0.5), 'not a picture|damaged'),
        ('zeroed.png', zeroed('PNG', 60, 2000), 'damaged'),
        ('zeroed_header.jpg', zeroed('JPEG', 0, 20), 'not a picture'),
        ('empty.jpg', written(b''), 'the file is empty'),
        ('zeros.jpg', written(bytes(2000)), 'not a picture'),
        ('one_byte.jpg', written(b'\xff'), 'not a picture'),
        ('text.jpg', written(b'404 not found'), 'not a picture'),
        ('page.png', written(b'<!doctype html><html>no such page</html>'), 'not a picture'),
        ('page.jpg', written(b'\n<HTML><body>no such page'), 'not a picture but a web page'),
        ('drawing.svg', written(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), 'an SVG drawing'),
        ('xml.svg', written(b'<?xml version="1.0"?>\n<!-- x -->\n<svg/>'), 'an SVG drawing'),
        ('other.xml', written(b'<?xml version="1.0"?><a/>'), 'not a picture$'),
        ('drawing.eps', written(EPS), 'a PostScript drawing'),
        ('eps_named.jpg', written(EPS), 'a PostScript drawing'),
        ('sheet.pdf', written(b'%PDF-1.7\n'), 'a PDF document'),
        ('phone.heic', written(box(b'heic')), 'an HEIC picture, which Pillow reads only with'),
        ('phone.jpg', written(box(b'mif1')), 'an HEIC picture'),
        ('broken.avif', written(box(b'avif')), 'an AVIF picture|damaged'),
        ('film.mp4', written(box(b'isom')), 'not a picture but a video'),
        ('layers.psd', written(b'8BPS\0\x01' + bytes(100)), 'a Photoshop picture'),
        ('icon.ico', saved(photo(16, 16), 'ICO'), 'an icon'),
        ('graymap.ppm', saved(photo(), 'PPM'), 'not a picture$'),
        ('archive.jpg', written(b'PK\x03\x04' + bytes(100)), 'not a picture'),
        ('floats.tif', saved(FLOATS, 'TIFF'), 'floating-point pixels'),
        ('integers.tif', saved(INTEGERS, 'TIFF'), '32-bit integer pixels'),
        ('bomb.png', written(png_of_size(40000, 40000)), 'more than the 67,108,864 pixels'),
        ('small_bomb.png', written(png_of_size(10000, 10000)), '10000 x 10000 pixels, more than'),
        ('large.png', written(png_of_size(8193, 8192)), '8193 x 8192 pixels, more than'),
        ('line.png', saved(Image.new('L', (30000, 1)), 'PNG'), '30000 x 1 pixels: a side is over'),
        ('column.png', saved(Image.new('L', (2, 500)), 'PNG'), '2 x 500 pixels: a side is over'),
        ('nowhere.jpg', nothing, 'no such file'),
        ('dangling.jpg', linked('nowhere.jpg'), 'no such file'),
        ('loop.jpg', linked('loop.jpg'), 'cannot be opened'),
        ('folder.jpg', lambda path: path.mkdir(), 'a folder'),
        ('pipe.jpg', os.mkfifo, 'a pipe'),
        ('zero.jpg', linked('/dev/zero'), 'a pipe, socket or device'),
    ]
]  # fmt: skip
