"""The models of the argo-workflows package under the names that Argo's own documentation gives them."""

import difflib
from collections.abc import Iterator
from typing import Any

from sightline.errors import EnvironmentFault


class Models:
    """One family of generated classes: ``workflows.Template`` is ``IoArgoprojWorkflowV1alpha1Template``.

    The package is imported at the first use, so that commands that need no Argo stay fast and work without it.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        generated = _generated()
        try:
            return getattr(generated, self._prefix + name)
        except AttributeError:
            known = [key.removeprefix(self._prefix) for key in dir(generated) if key.startswith(self._prefix)]
            near = ", ".join(difflib.get_close_matches(name, known))
            raise AttributeError(f"argo-workflows has no model {self._prefix}{name}; near matches: {near or 'none'}") from None


core = Models("")
workflows = Models("IoArgoprojWorkflowV1alpha1")
events = Models("GithubComArgoprojArgoEventsPkgApisEventsV1alpha1")


def plain(model: Any) -> dict[str, Any]:
    """A model as the dict that Kubernetes takes, with Argo's own spelling of the keys."""
    from argo_workflows.api_client import ApiClient

    body: dict[str, Any] = ApiClient.sanitize_for_serialization(model)
    return body


def unknown_keys(model: Any, path: str = "") -> Iterator[str]:
    """Paths of values that the model's class does not define: generated classes accept any key, a misspelt one too."""
    if isinstance(model, list):
        for index, item in enumerate(model):
            yield from unknown_keys(item, f"{path}[{index}]")
    elif isinstance(model, dict):
        for key, item in model.items():
            yield from unknown_keys(item, f"{path}.{key}")
    elif hasattr(model, "attribute_map"):
        for key, item in model._data_store.items():  # noqa: SLF001 - to_dict turns the nested models into dicts, which have no names to check
            here = f"{path}.{key}".lstrip(".")
            if key not in model.attribute_map:
                yield here
            yield from unknown_keys(item, here)


def _generated() -> Any:
    try:
        from argo_workflows import models
    except ModuleNotFoundError as error:
        raise EnvironmentFault("the argo-workflows package is not installed", remedy="pip install argo-workflows==6.7.18") from error
    return models
