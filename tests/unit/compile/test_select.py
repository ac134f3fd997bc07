import pytest

from sightline.compile.select import Row, choose, judge
from sightline.config.compile import CompileConfig
from sightline.errors import SightlineError

CONFIG = CompileConfig(max_accuracy_drop=0.01, min_agreement=0.97)
EAGER = Row(name="eager", status="ok", p50_ms=9.0, p95_ms=10.0, throughput_ips=100.0, accuracy=0.9, agreement=1.0, max_abs_diff=0.0)


def row(name, p50_ms, accuracy=0.9, agreement=1.0, throughput_ips=100.0):
    figures = {"p50_ms": p50_ms, "p95_ms": p50_ms, "throughput_ips": throughput_ips, "accuracy": accuracy, "agreement": agreement}
    return Row(name=name, status="ok", **figures)


def chosen(*rows):
    return choose(tuple(judge(each, EAGER, CONFIG) for each in (EAGER, *rows))).name


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("slow", 3.0), row("fast", 1.0)], "fast"),
        ([row("sound", 3.0), row("fast but wrong", 1.0, accuracy=0.8)], "sound"),
        ([row("sound", 3.0), row("fast but different", 1.0, agreement=0.96)], "sound"),
        ([row("sound", 3.0), row("exactly at both limits", 1.0, accuracy=0.89, agreement=0.97)], "exactly at both limits"),
        ([row("sound", 3.0), row("better than eager", 1.0, accuracy=0.95)], "better than eager"),
        ([row("tied", 1.0, throughput_ips=100), row("tied, more images", 1.02, throughput_ips=200)], "tied, more images"),
        ([row("clearly faster", 1.0, throughput_ips=100), row("more images", 1.1, throughput_ips=900)], "clearly faster"),
        ([row("slower than eager", 20.0)], "slower than eager"),
        ([row("sound", 3.0), Row(name="absent", status="unavailable", reason="no NVIDIA GPU")], "sound"),
        ([row("sound", 3.0), Row(name="unmeasured", status="ok", accuracy=0.9, agreement=1.0)], "sound"),
        ([row("sound", 3.0), Row(name="unscored", status="ok", p50_ms=0.1)], "sound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_fastest_variant_that_answers_like_eager_is_chosen(rows, expected):
    assert chosen(*rows) == expected


def test_a_rejected_variant_keeps_its_figures_and_says_every_reason():
    judged = judge(row("bad", 1.0, accuracy=0.85, agreement=0.9), EAGER, CONFIG)
    assert judged.status == "rejected"
    assert judged.p50_ms == 1.0
    assert "accuracy 0.8500 is 0.0500 below eager, at most 0.01 is allowed" in judged.reason
    assert "agrees with eager on 0.9000 of the images, at least 0.97 is required" in judged.reason


def test_when_none_holds_the_error_says_by_how_much_each_missed():
    with pytest.raises(SightlineError, match="no variant can ship") as caught:
        chosen(row("bad", 1.0, accuracy=0.85), Row(name="tensorrt-fp16", status="unavailable", reason="no NVIDIA GPU"))
    assert "bad: rejected, accuracy 0.8500 is 0.0500 below eager" in str(caught.value)
    assert "tensorrt-fp16: unavailable, no NVIDIA GPU" in str(caught.value)


def test_eager_itself_never_ships():
    with pytest.raises(SightlineError, match="no variant can ship"):
        chosen()
