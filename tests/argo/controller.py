"""Plays Argo's controller for the double: each run that is created is run by the interpreter, each schedule starts one run at once."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.argo.argo_server import ArgoServer
from tests.argo.interpreter import Interpreter


@dataclass
class Controller:
    """The double with somebody who does the work.

    Attributes:
        server: the double.
        folder: where pods have their scratch folders.
        path: the folder with the ``sightline`` command.
        config_map: the environment that the pods' ConfigMap holds.
    """

    server: ArgoServer
    folder: Path
    path: Path
    config_map: Mapping[str, str]
    flows: dict[str, Interpreter] = field(default_factory=dict)
    approvals: dict[str, threading.Event] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.created = self._created
        self.server.acted = self._acted

    def close(self) -> None:
        """Stops what still runs."""
        for flow in self.flows.values():
            flow.stop()
        for event in self.approvals.values():
            event.set()
        for thread in self.threads:
            thread.join()

    def _created(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "workflows":
            self._start(body, nodes={})
        if kind == "cron-workflows":
            spec = body["spec"]
            metadata = {"name": f"{body['metadata']['name']}-1", "labels": spec["workflowMetadata"]["labels"]}
            self._start(self.server.put("workflows", {"metadata": metadata, "spec": spec["workflowSpec"]}), nodes={})

    def _acted(self, name: str, verb: str) -> None:
        if verb == "stop":
            self.flows[name].stop()
        elif verb == "resume":
            self.approvals[name].set()
        elif verb == "retry":
            done = {task: node for task, node in self.flows[name].nodes.items() if node.phase == "Succeeded" and task != "onExit"}
            self._start(self.server.objects["workflows", name], nodes=done)

    def _start(self, body: dict[str, Any], *, nodes: dict[str, Any]) -> None:
        name, spec = body["metadata"]["name"], body["spec"]
        template = self.server.objects["workflow-templates", spec["workflowTemplateRef"]["name"]]
        given = {one["name"]: one["value"] for one in spec.get("arguments", {}).get("parameters", [])}
        self.approvals[name] = threading.Event()
        flow = Interpreter(template, name, self.folder, self.path, given, self.config_map, self.approvals[name].wait, nodes)
        self.flows[name] = flow
        body["status"] = {"phase": "Running"}
        thread = threading.Thread(target=self._work, args=(flow, body))
        self.threads.append(thread)
        thread.start()

    def _work(self, flow: Interpreter, body: dict[str, Any]) -> None:
        phase = "Error"
        try:
            phase = flow.run()
        finally:
            body["status"] = {"phase": phase}
