"""Runs a canary: sentinels first, then real requests, until the judge decides. Where it runs is the target's business."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sightline.config.deploy import DeployConfig
from sightline.deploy.judge import UNDECIDED, Judge, Judgement, Observation
from sightline.deploy.record import ArmSummary, CanarySummary, Journal, Moment, State, plain
from sightline.deploy.sentinels import Sentinel, wrong_answers
from sightline.deploy.targets.base import Clients, Route
from sightline.deploy.traffic import Traffic
from sightline.serve.observations import PROBE_HEADER, REPLAY

_TICK_S = 0.1
_SENTINEL_PERIOD_S = 2.0
_SENTINELS_PER_ROUND = 4
_SENTINEL_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Plan:
    """What a canary needs besides its servers.

    Attributes:
        sentinels: golden images with the answers that the gate saw; not empty.
        images: image files to replay; empty: only real clients ask.
        half_way: called once, when the canary has half of its requests and no error, so that promotion can be prepared.
        progress: shows one line.
    """

    config: DeployConfig
    sentinels: tuple[Sentinel, ...]
    images: tuple[bytes, ...]
    half_way: Callable[[], None]
    progress: Callable[[str], None]


class Canary:
    """One canary, run once.

    Args:
        plan: what to replay and by which rules to judge.
        clients: those of the two ready arms.
        journal: gets each state before it is acted on.
    """

    def __init__(self, plan: Plan, clients: Clients, journal: Journal) -> None:
        self._plan = plan
        self._clients = clients
        self._journal = journal
        self._judge = Judge(plan.config, has_incumbent=clients.has_incumbent)
        self._started = time.monotonic()
        self._traffic_started = self._started
        self._judgement: Judgement | None = None
        self._decided = asyncio.Event()
        self._decided_after_s = 0.0
        self._evidence: dict[str, float] = {}
        self._timeline: list[Moment] = []
        self._state: State = "starting"
        self._num_sentinels = 0
        self._wrong: list[str] = []
        self._next_sentinel = 0

    async def run(self) -> CanarySummary:
        """Sentinels, traffic, decision; afterwards no client is connected and, after a rollback, none is routed to the canary.

        Raises:
            EnvironmentFault: the router's port is taken, or the cluster refuses.
            TemporaryError: the cluster does not answer.
        """
        try:
            self._enter("sentinels")
            await self._check(self._plan.sentinels)
            if self._judgement is None:
                self._enter("canary")
                await self._with_traffic()
        finally:
            if not self._promotes:
                self._clients.withdraw()
            await self._clients.close()
        return self._summary()

    @property
    def _promotes(self) -> bool:
        return self._judgement is not None and self._judgement.decision == "promote"

    async def _with_traffic(self) -> None:
        route = await self._clients.shift(self._observe)
        self._traffic_started = time.monotonic()
        replay = self._replay(route)
        asking = asyncio.create_task(replay.run(num_clients=self._plan.config.num_clients, num_requests=None)) if replay else None
        try:
            await self._watch()
        finally:
            if not self._promotes:
                self._clients.withdraw()
            if replay and asking:
                replay.stop()
                await asyncio.gather(asking, return_exceptions=True)
        self._sample()

    def _replay(self, route: Route) -> Traffic | None:
        if not self._plan.images:
            return None
        headers = {PROBE_HEADER: REPLAY}
        return Traffic(route.url, self._plan.config.model, self._plan.images, prefix="replay", headers=headers, host=route.host)

    async def _watch(self) -> None:
        next_round = time.monotonic() + _SENTINEL_PERIOD_S
        prepared = False
        while self._judgement is None:
            self._sample()
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._decided.wait()
            except TimeoutError:
                await self._clients.collect()
                self._settle(self._decide())
            if failure := self._clients.failure():
                self._settle(Judgement("rollback", failure))
            if time.monotonic() >= next_round and self._judgement is None:
                await self._check(self._next_sentinels())
                next_round = time.monotonic() + _SENTINEL_PERIOD_S
            record = self._clients.arms["canary"]
            if not prepared and self._judgement is None and not record.errors and 2 * record.requests >= self._judge.min_requests:
                prepared = True
                self._plan.half_way()

    def _next_sentinels(self) -> tuple[Sentinel, ...]:
        every = self._plan.sentinels
        start = self._next_sentinel % len(every)
        self._next_sentinel += _SENTINELS_PER_ROUND
        return (every + every)[start : start + min(_SENTINELS_PER_ROUND, len(every))]

    async def _check(self, sentinels: tuple[Sentinel, ...]) -> None:
        answers = wrong_answers(self._clients.endpoint, self._plan.config.model, sentinels, timeout_s=_SENTINEL_TIMEOUT_S)
        checking = asyncio.create_task(answers)
        deciding = asyncio.create_task(self._decided.wait())
        await asyncio.wait({checking, deciding}, return_when=asyncio.FIRST_COMPLETED)
        deciding.cancel()
        if not checking.done():  # the judge was faster
            checking.cancel()
            return
        self._num_sentinels += len(sentinels)
        self._wrong += checking.result()
        if self._wrong:
            reason = f"the served model does not answer as the gated one: {len(self._wrong)} of {self._num_sentinels} sentinels differ"
            self._settle(Judgement("rollback", reason))

    def _observe(self, observation: Observation) -> None:
        self._judge.observe(observation)
        if self._judgement is None:
            self._settle(self._decide())

    def _decide(self) -> Judgement:
        """The judge's decision; nothing is promoted while something is not seen."""
        judgement = self._judge.decide(elapsed_s=self._elapsed_s)
        unseen = self._clients.blind()
        if not unseen:
            return judgement
        deadline_s = self._plan.config.deadline_s
        if judgement.decision == "promote" and self._elapsed_s < deadline_s:
            return Judgement("hold", unseen)
        if judgement.decision == "promote" or judgement.reason.startswith(UNDECIDED):
            return Judgement("rollback", f"{UNDECIDED} {min(self._elapsed_s, deadline_s):g} s: {unseen}")
        return judgement

    def _settle(self, judgement: Judgement) -> None:
        if judgement.decision == "hold" or self._judgement is not None:
            return
        self._judgement = judgement
        self._decided_after_s = self._elapsed_s if self._state == "canary" else 0.0
        self._evidence = self._judge.evidence()
        self._decided.set()
        if judgement.decision == "rollback":
            self._journal.enter("rolling-back", judgement.reason)
            self._clients.withdraw()
            self._state = "rolling-back"
            self._sample()

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._traffic_started

    def _enter(self, state: State, reason: str = "") -> None:
        self._journal.enter(state, reason)
        self._state = state
        self._sample()

    def _sample(self) -> None:
        arms = self._clients.arms
        requests = sum(record.requests for record in arms.values())
        moment = Moment(
            t=round(time.monotonic() - self._started, 3),
            state=self._state,
            requests=requests,
            canary_requests=arms["canary"].requests,
            canary_share=round(self._clients.canary_share, 4) if self._state == "canary" else 0.0,
            errors=arms["canary"].errors,
            slow=arms["canary"].slow,
            e_values=plain(self._judge.evidence()),
        )
        self._timeline.append(moment)
        if self._state == "canary" and requests:
            self._plan.progress(f"{requests} requests · canary {moment.canary_requests} · {moment.errors} errors")

    def _summary(self) -> CanarySummary:
        judgement = self._judgement or Judgement("rollback", "the canary ended without a decision")
        arms = {
            arm: ArmSummary(
                requests=record.requests,
                errors=record.errors,
                slow=record.slow,
                p50_ms=record.quantile_ms(0.5),
                p95_ms=record.quantile_ms(0.95),
            )
            for arm, record in self._clients.arms.items()
        }
        return CanarySummary(
            decision="promote" if judgement.decision == "promote" else "rollback",
            reason=judgement.reason,
            decided_after_s=round(self._decided_after_s, 3),
            timeline=tuple(self._timeline),
            arms=arms,
            fallbacks=self._clients.num_fallbacks,
            client_errors=self._clients.num_client_errors,
            e_values=plain(self._evidence),
            thresholds=plain(self._judge.thresholds()),
            sentinels=self._num_sentinels,
            wrong_sentinels=tuple(self._wrong),
        )
