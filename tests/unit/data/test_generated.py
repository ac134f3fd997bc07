"""Images that are made where they are needed."""

from concurrent.futures import ThreadPoolExecutor

from sightline.data.generated import generated_folder


def test_threads_that_need_the_images_at_once_find_them_all(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: generated_folder("generated://surfaces;lots=6;images=6;seed=3"), range(8)))
    assert len(folders) == 1
    assert len(list(folders.pop().glob("*/*.jpg"))) == 36
