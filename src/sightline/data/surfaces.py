"""Renders one inspected surface: material, lighting, defect, camera. Arithmetic only; files are made in ``synthetic``."""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sightline.images import ImageU8

SIZE_PX = 96
CLASSES = ("crack", "dent", "good", "scratch", "stain")
MATERIALS = ("steel", "brass", "fabric", "wood")
LIGHTINGS = ("bright-field", "dark-field", "side")
CAMERAS = ("A", "B")

Material = Literal["steel", "brass", "fabric", "wood"]
Field = npt.NDArray[np.float32]
Rng = np.random.Generator

_COLOURS = {"steel": (0.97, 1.0, 1.03), "brass": (1.18, 0.98, 0.62), "fabric": (0.78, 0.88, 1.2), "wood": (1.2, 0.9, 0.6)}
# How much of its nominal contrast a defect keeps on each material: woven and grained surfaces hide more.
_VISIBILITY = {"steel": 1.7, "brass": 1.6, "fabric": 1.2, "wood": 1.4}
_LEVELS = {"bright-field": 0.6, "dark-field": 0.3, "side": 0.45}
_TEXTURE = {"bright-field": 0.036, "dark-field": 0.025, "side": 0.047}
_DEFECT = {"bright-field": 1.0, "dark-field": 0.7, "side": 0.9}
_EXPOSURES = {"under": 0.75, "normal": 1.0, "over": 1.25}
_Y, _X = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
_COSINES = np.cos(np.outer(np.arange(SIZE_PX) + 0.5, np.arange(4)) * math.pi / SIZE_PX).astype(np.float32)
_RADIUS2 = ((_X / SIZE_PX - 0.5) ** 2 + (_Y / SIZE_PX - 0.5) ** 2) * 2


@dataclass(frozen=True)
class Scene:
    """What is known about one image.

    Attributes:
        angle: orientation of the texture in radians, the same for a whole lot.
        light: direction that the light comes from in radians, the same for a whole lot.
        lamp_age: 0 (new) to 1.
        blur: sharp or soft.
        exposure: under, normal or over.
    """

    class_name: str
    material: str
    lighting: str
    camera: str
    angle: float
    light: float
    lamp_age: float
    blur: str
    exposure: str


def render(scene: Scene, rng: Rng) -> ImageU8:
    """The photograph of one surface.

    Returns:
        (96, 96, 3), uint8, RGB; the same for the same scene and generator state.
    """
    level = _LEVELS[scene.lighting] * rng.uniform(0.92, 1.08)
    relief = _texture(scene, rng) * _TEXTURE[scene.lighting]
    shading = _shading(scene, rng)
    contrast = _VISIBILITY[scene.material] * _DEFECT[scene.lighting]
    mark, stain = _defect(scene, rng, contrast)
    grey = np.clip((level + relief) * shading + mark + _dust(rng), 0.0, None)
    return _photograph(grey, stain, scene, rng)


def quality(camera: str) -> int:
    """The JPEG quality of a camera, in percent."""
    return {"A": 90, "B": 85}[camera]


@functools.lru_cache(maxsize=32)
def _filter(sigma_x: float, sigma_y: float) -> Field:
    frequency_x = np.fft.rfftfreq(SIZE_PX)[None, :] * sigma_x
    frequency_y = np.fft.fftfreq(SIZE_PX)[:, None] * sigma_y
    return np.exp(-2 * math.pi**2 * (frequency_x**2 + frequency_y**2)).astype(np.float32)


def _blurred(image: Field, sigma_x: float, sigma_y: float) -> Field:
    spectrum = np.fft.rfft2(image) * _filter(sigma_x, sigma_y)
    return np.asarray(np.fft.irfft2(spectrum, s=image.shape), dtype=np.float32)


def _noise(rng: Rng, sigma_x: float, sigma_y: float) -> Field:
    field = _blurred(rng.standard_normal((SIZE_PX, SIZE_PX), dtype=np.float32), sigma_x, sigma_y)
    return np.asarray(field / field.std(), dtype=np.float32)


def _waves(rng: Rng) -> Field:
    """A smooth field of unit deviation, for a twentieth of the price of filtered noise."""
    amplitudes = rng.standard_normal((_COSINES.shape[1], _COSINES.shape[1]), dtype=np.float32)
    field = _COSINES @ amplitudes @ _COSINES.T
    return np.asarray(field / field.std(), dtype=np.float32)


def _texture(scene: Scene, rng: Rng) -> Field:
    along = _X * math.cos(scene.angle) + _Y * math.sin(scene.angle)
    across = _Y * math.cos(scene.angle) - _X * math.sin(scene.angle)
    phase, period = rng.uniform(0, 2 * math.pi), rng.uniform(0.9, 1.1)
    grain = _noise(rng, 0.5, 0.5)
    relief: Field
    if scene.material == "steel":
        relief = _noise(rng, 14, 0.7) if scene.angle < math.pi / 2 else _noise(rng, 0.7, 14)
    elif scene.material == "brass":
        radius = np.hypot(along + 60 + 40 * rng.random(), across - 48)
        relief = 0.7 * np.sin(radius * (0.9 / period) + phase) + 0.7 * _noise(rng, 1.2, 1.2)
    elif scene.material == "fabric":
        warp = 3.0 * _waves(rng)
        relief = 1.5 * np.sin((along + warp) * (0.95 / period) + phase) * np.sin((across + warp) * (0.95 / period))
    else:
        relief = 0.9 * np.sin((across + 7.5 * _waves(rng)) * (0.28 / period) + phase) + 0.6 * _noise(rng, 8, 0.6)
    relief += 0.3 * grain
    return relief


def _shading(scene: Scene, rng: Rng) -> Field:
    slope = {"bright-field": 0.06, "dark-field": 0.12, "side": 0.3}[scene.lighting]
    towards = (_X / SIZE_PX - 0.5) * math.cos(scene.light) + (_Y / SIZE_PX - 0.5) * math.sin(scene.light)
    uneven = 0.03 * _waves(rng)
    return np.asarray(1.0 + slope * 2 * towards + uneven, dtype=np.float32)


def _dust(rng: Rng) -> Field:
    field = np.zeros((SIZE_PX, SIZE_PX), dtype=np.float32)
    for _ in range(rng.integers(0, 4)):
        x, y, radius = rng.uniform(4, 92), rng.uniform(4, 92), rng.uniform(0.6, 1.3)
        field += rng.uniform(-0.15, 0.1) * np.exp(-((_X - x) ** 2 + (_Y - y) ** 2) / (2 * radius**2))
    return field


def _defect(scene: Scene, rng: Rng, contrast: float) -> tuple[Field, Field]:
    """The defect as an addition to the grey image and as light that a stain absorbs per colour; both zero for a good surface."""
    plain = np.zeros((1, 1, 3), dtype=np.float32)
    strength = contrast * float(np.exp(rng.normal(0.0, 0.4)))
    if scene.class_name == "scratch":
        bright = scene.lighting != "bright-field" or rng.random() < 0.3
        return _scratch(rng) * strength * (0.36 if bright else -0.36), plain
    if scene.class_name == "crack":
        return _crack(rng) * strength * -0.3, plain
    if scene.class_name == "dent":
        return _dent(rng, scene.light) * strength * 0.24, plain
    if scene.class_name == "stain":
        mask = _blob(rng)[:, :, None]
        depth = np.asarray([0.2, 0.3, 0.42] if rng.random() < 0.7 else [0.4, 0.28, 0.2], dtype=np.float32)
        return np.zeros((SIZE_PX, SIZE_PX), dtype=np.float32), np.clip(mask * depth * min(strength * 0.85, 2.0), 0, 0.9)
    return np.zeros((SIZE_PX, SIZE_PX), dtype=np.float32), plain


def _centre(rng: Rng) -> tuple[float, float]:
    return rng.uniform(24, 72), rng.uniform(24, 72)


def _scratch(rng: Rng) -> Field:
    x, y = _centre(rng)
    angle, half, width, bend = rng.uniform(0, math.pi), rng.uniform(12, 34), rng.uniform(0.8, 1.6), rng.normal(0, 0.004)
    along = (_X - x) * math.cos(angle) + (_Y - y) * math.sin(angle)
    across = (_Y - y) * math.cos(angle) - (_X - x) * math.sin(angle) - bend * along**2
    ends = 1 / (1 + np.exp(np.clip((np.abs(along) - half) / 1.5, -30, 30)))
    line: Field = np.exp(-((across / width) ** 2)) - 0.35 * np.exp(-(((across - 2 * width) / width) ** 2))
    line *= ends
    return line


def _crack(rng: Rng) -> Field:
    points, heading = [np.asarray(_centre(rng))], rng.uniform(0, 2 * math.pi)
    for _ in range(rng.integers(6, 11)):
        heading += rng.normal(0, 0.75)
        points.append(points[-1] + rng.uniform(3.5, 8) * np.asarray([math.cos(heading), math.sin(heading)]))
    path = np.asarray(points, dtype=np.float32)
    path += np.asarray([48, 48], dtype=np.float32) - (path.max(axis=0) + path.min(axis=0)) / 2 + rng.uniform(-14, 14, 2).astype(np.float32)
    width = rng.uniform(0.7, 1.4)
    line: Field = np.exp(-_distance2(path) / width**2)
    return line


def _distance2(path: Field) -> Field:
    """Squared distance of each pixel to a polyline of (points, 2)."""
    nearest = np.full((SIZE_PX, SIZE_PX), np.inf, dtype=np.float32)
    for start, end in itertools.pairwise(path):
        step = end - start
        share = np.clip(((_X - start[0]) * step[0] + (_Y - start[1]) * step[1]) / float(step @ step), 0, 1)
        np.minimum(nearest, (_X - start[0] - share * step[0]) ** 2 + (_Y - start[1] - share * step[1]) ** 2, out=nearest)
    return nearest


def _dent(rng: Rng, light: float) -> Field:
    x, y = _centre(rng)
    radius, stretch, angle = rng.uniform(4, 9), rng.uniform(0.8, 1.25), rng.uniform(0, math.pi)
    along = ((_X - x) * math.cos(angle) + (_Y - y) * math.sin(angle)) / (radius * stretch)
    across = ((_Y - y) * math.cos(angle) - (_X - x) * math.sin(angle)) / (radius / stretch)
    bowl = np.exp(-(along**2 + across**2) / 2)
    towards = ((_X - x) * math.cos(light) + (_Y - y) * math.sin(light)) / radius
    shade: Field = bowl * (1.5 * towards - 0.35)
    return shade


def _blob(rng: Rng) -> Field:
    x, y = _centre(rng)
    size = rng.uniform(9, 19)
    outline = 1 - np.hypot(_X - x, _Y - y) / size + 0.28 * _noise(rng, 4, 4)
    edge: Field = 1 / (1 + np.exp(-np.clip(outline * rng.uniform(6, 14), -30, 30)))
    return edge


def _photograph(grey: Field, stain: Field, scene: Scene, rng: Rng) -> ImageU8:
    age = scene.lamp_age
    sigma = 0.5 + (0.35 if scene.camera == "B" else 0.0) + (0.9 if scene.blur == "soft" else 0.0)
    vignette = np.clip(1 - 0.7 * age * _RADIUS2, 0.05, 1) if age else 1.0
    light = _blurred(grey, sigma, sigma) * vignette * _EXPOSURES[scene.exposure]
    lamp = np.asarray([1 - 0.2 * age, 1 - 0.33 * age, 1 - 0.6 * age])
    cast = np.asarray((1.03, 1.0, 0.96) if scene.camera == "A" else (0.95, 1.02, 1.05))
    colour = (np.asarray(_COLOURS[scene.material]) * lamp * cast).astype(np.float32)
    noise = (0.012 if scene.camera == "A" else 0.022) + 0.025 * age
    seen = light[:, :, None] * (colour - colour * stain)
    seen += noise * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(np.clip(seen * 255 + 0.5, 0, 255), dtype=np.uint8)
