"""The double of Kubeflow's API for runs whose work does not matter: everything is accepted or refused as there, nothing is executed."""

from datetime import UTC, datetime
from typing import Any

from tests.kfp.fake_server import FakeKubeflow, RefusedError


class WaitingKubeflow(FakeKubeflow):
    """Its runs wait until they are ended."""

    def end(self, run_id: str, state: str) -> None:
        """Ends a run: SUCCEEDED, FAILED or CANCELED."""
        with self._lock:
            self._one("runs", run_id).update(state=state, finished_at=datetime.now(UTC).isoformat().replace("+00:00", "Z"))

    def forget_schedules(self) -> None:
        """What happens to recurring runs when the server's database is made anew."""
        with self._lock:
            self._objects["recurringruns"].clear()

    def parameters(self, name: str) -> dict[str, Any]:
        """What the run of that name was started with."""
        with self._lock:
            (run,) = [run for run in self._objects["runs"].values() if run["display_name"] == name]
            return dict(run["runtime_config"]["parameters"])

    def _execute(self, run_id: str) -> None:
        self._objects["runs"][run_id]["state"] = "RUNNING"

    def _fire(self, moment: datetime) -> None:
        """Nothing starts by the clock, so that it does not matter when the tests run."""

    def _terminate(self, name: str, **_: object) -> dict[str, Any]:
        if (state := self._one("runs", name)["state"]) != "RUNNING":
            raise RefusedError(400, f"run {name} is {state}")
        self.end(name, "CANCELED")
        return {}
