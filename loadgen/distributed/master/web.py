"""What we add to Locust's web UI: a live page, tabs with our tables, and a word before a run that cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import msgspec
from flask import Blueprint, Response, jsonify, request
from jinja2.utils import htmlsafe_json_dumps
from locust.argument_parser import ui_extra_args_dict
from locust.env import Environment
from locust.runners import MasterRunner
from locust.web import WebUI

from loadgen.distributed.arguments import ARGUMENTS, BUILT_IN, check_scenario_below
from loadgen.distributed.master.leader import Leader
from loadgen.errors import InputError
from loadgen.measure.names import COUNTERS
from loadgen.report.charts import shown_ns
from loadgen.report.html import library, page_file, together
from loadgen.report.live import POLICY, LiveView, live_page, live_view
from loadgen.results.health import MachineHealth, judge
from loadgen.results.result import RunResult
from loadgen.strict import shown

# A view is made when somebody asks, at most once in that time, and never for more than a tenth of the master's.
_LEAST_AGE_S = 1.0
_SHARE = 10
# How long local workers may take until the first run is started without them.
_WORKERS_S = 10.0
_ROOT = '<div id="root">'
# On Locust's page: the way to ours, above all of it, where it hides nothing.
_WAY = '<a id="nmsp-live" href="./loadgen">NMSP live →</a>'
# No field for Locust's "host", which is our target, and is shown at the top as such. The frame of a list is open where
# its label stands: Locust's own would strike it through.
_ADDED = """
<style>
.MuiFormControl-root:has(> * > input[name="host"]) { display: none; }
.MuiFormControl-root:has(select) legend { max-width: 100%; }
#nmsp-live {
  display: block; padding: 4px 24px; background: #0b4a25; color: #fff; text-align: right;
  font: 600 14px/20px system-ui, sans-serif; text-decoration: none;
}
#nmsp-live:hover, #nmsp-live:focus-visible { text-decoration: underline; }
</style>
<script>
addEventListener("submit", ({ target: form }) => {
  const [host, target] = ["host", "target"].map((name) => form.querySelector(`input[name="${name}"]`));
  if (host && target) host.value = target.value;
}, true);
</script>
"""
# The fields of Locust's own form, and those that it has with --class-picker.
_FIELDS = {"user_count", "spawn_rate", "host", "run_time", "profile"}
_PICKED = {"user_classes", "shape_class"}
_DURATIONS, _COUNTS, _HEALTH = "nmsp_durations", "nmsp_counts", "nmsp_generator"
_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    _DURATIONS: (
        "NMSP",
        {
            "name": "Duration",
            "count": "Count",
            "p50": "p50",
            "p90": "p90",
            "p95": "p95",
            "p99": "p99",
            "p999": "p99.9",
            "max": "Max",
        },
    ),
    _COUNTS: ("NMSP counts", {"name": "Counter", "count": "Count", "meaning": "What"}),
    _HEALTH: (
        "NMSP generator",
        {
            "name": "Worker",
            "verdict": "Verdict",
            "cpu": "CPU, of a core",
            "lag": "Lag p99",
            "stall": "Longest stall",
            "shortfall": "Gave up",
        },
    ),
}


class SharedViews:
    """What the live page and the tabs show, made for all who watch together."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self._result: RunResult | None = None
        self._view = b""
        self._version = ""
        self._stale_at = 0.0
        self._was: tuple[int, bool, bool] | None = None

    def view(self, since: str) -> bytes:
        """JSON of a LiveView; a short one if there is nothing new. Args: since: the version that is known."""
        self._renew()
        return b'{"version":' + msgspec.json.encode(self._version) + b"}" if since == self._version else self._view

    def tables(self) -> list[dict[str, Any]]:
        """For Locust's `extended_stats`."""
        self._renew()
        result = self._result
        rows: dict[str, list[dict[str, object]]] = {key: [] for key in _TABLES}
        if result is not None:
            rows = {_DURATIONS: _durations(result), _COUNTS: _counts(result), _HEALTH: _health(result)}
        return [{"key": key, "data": data} for key, data in rows.items()]

    def _renew(self) -> None:
        leader = self._leader
        state = (leader.runs, leader.running, leader.ending)
        # Between runs nothing changes, but for workers that come.
        if leader.writing or (time.monotonic() < self._stale_at and state == self._was):
            return
        begun = time.monotonic()
        if leader.running or state != self._was:
            self._result, curves = leader.figures()
            moment = leader.moment()
            self._version = f"{leader.runs}.{begun:.3f}"
            view: LiveView = live_view(self._version, moment, self._result, curves)
            self._view = msgspec.json.encode(view)
            self._was = state
        now = time.monotonic()
        self._stale_at = now + max(_LEAST_AGE_S, _SHARE * (now - begun))


def serve(web_ui: WebUI, environment: Environment, leader: Leader, local_workers: int) -> None:
    """Add everything to Locust's web UI, before it is started."""
    views = SharedViews(leader)
    app = web_ui.app
    assert app is not None
    app.register_blueprint(_pages(web_ui, environment, leader, views))
    _add_tabs(web_ui, views)
    original = app.view_functions["locust.swarm"]
    guard = _guard(web_ui, environment, leader, original, local_workers)
    app.view_functions["locust.swarm"] = web_ui.auth_required_if_enabled(guard)
    guard = _guard_classes(environment, app.view_functions["locust.update_user"])
    app.view_functions["locust.update_user"] = web_ui.auth_required_if_enabled(guard)


def _pages(web_ui: WebUI, environment: Environment, leader: Leader, views: SharedViews) -> Blueprint:
    ours = Blueprint("loadgen", __name__, url_prefix=vars(environment.parsed_options)["web_base_path"] or None)
    scripts = page_file("charts.js") + page_file("live.js")
    page = live_page()
    texts: dict[str, tuple[str, Callable[[], str | bytes]]] = {
        "/loadgen": ("text/html", lambda: page),
        "/loadgen/live.js": ("text/javascript", lambda: scripts),
        "/loadgen/page.css": ("text/css", lambda: page_file("page.css")),
        "/loadgen/plotly.min.js": ("text/javascript", library),
        "/loadgen/live.json": ("application/json", lambda: views.view(request.args.get("since", ""))),
    }

    def add(path: str, kind: str, make: Callable[[], str | bytes]) -> None:
        def answer() -> Response:
            made = Response(make(), content_type=f"{kind}; charset=utf-8")
            made.headers["Content-Security-Policy"] = POLICY
            made.headers["X-Content-Type-Options"] = "nosniff"
            # Megabytes that change with a release only; everything else is asked for each time.
            made.headers["Cache-Control"] = "max-age=3600" if path.endswith("plotly.min.js") else "no-store"
            return made

        ours.add_url_rule(path, path.replace("/", "_").replace(".", "_"), web_ui.auth_required_if_enabled(answer))

    for path, (kind, make) in texts.items():
        add(path, kind, make)

    def report() -> Response:
        if leader.last is None:
            return Response("No run has ended yet.\n", status=404, content_type="text/plain")
        try:
            text = (leader.last.path / "report.html").read_text("utf-8")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return Response(f"{leader.last.path}/report.html: {reason}\n", status=404, content_type="text/plain")
        return Response(text, content_type="text/html; charset=utf-8")  # it brings a policy of its own

    ours.add_url_rule("/loadgen/report", "report", web_ui.auth_required_if_enabled(report))
    return ours


def _add_tabs(web_ui: WebUI, views: SharedViews) -> None:
    """Tables beside Locust's own. It keeps in template_args what it does not know."""
    web_ui.template_args["extended_tabs"] = [{"title": title, "key": key} for key, (title, _) in _TABLES.items()]
    web_ui.template_args["extended_tables"] = [
        {"key": key, "structure": [{"key": name, "title": title} for name, title in columns.items()]}
        for key, (_, columns) in _TABLES.items()
    ]
    app = web_ui.app
    assert app is not None

    @app.after_request
    def amend(response: Response) -> Response:
        if response.status_code != 200:
            return response
        if request.endpoint == "locust.request_stats":
            # A new one: Locust keeps this one for two seconds, and would have it amended over and over.
            return jsonify({**response.get_json(), "extended_stats": views.tables()})
        if request.endpoint == "locust.index":
            page = response.get_data(as_text=True)
            if "window.templateArgs" in page:
                # Whom the load is for says our own field, so nobody has to be asked for Locust's "host".
                page = page.replace('"missing_host_warning": true', '"missing_host_warning": false')
                for argument in ARGUMENTS:
                    page = page.replace(htmlsafe_json_dumps(argument.help), htmlsafe_json_dumps(argument.hint))
                page = page.replace(_ROOT, _WAY + _ROOT).replace("</body>", f"{_ADDED}</body>")
                response.set_data(page)
        return response


def _guard(
    web_ui: WebUI, environment: Environment, leader: Leader, original: Callable[[], Any], local_workers: int
) -> Callable[[], Any]:
    """Locust's view that starts a run or changes the number of users, with a look at what was asked for.

    By itself it sets every option of the command line that a form names.
    """
    scenarios = leader.scenario_of(vars(environment.parsed_options)).resolve().parent
    fields = _FIELDS | ui_extra_args_dict().keys() | (_PICKED if web_ui.userclass_picker_is_active else set())

    def refuse(message: str) -> Response:
        return jsonify({"success": False, "message": message, "host": environment.host})

    def swarm() -> Any:
        if leader.ending:
            return refuse("The last run is still being ended: its last figures are on their way.")
        if others := sorted(set(request.form) - fields):
            return refuse(f"No field of this form, but the operator's to set: {', '.join(map(shown, others))}.")
        options = vars(environment.parsed_options) | {
            argument.name: request.form[argument.name] for argument in ARGUMENTS if argument.name in request.form
        }
        if web_ui.userclass_picker_is_active:
            options["user_classes"] = request.form.getlist("user_classes")
        target = str(options["target"]).strip() or BUILT_IN
        count = request.form.get("user_count", "")
        users = int(count) if count.isascii() and count.isdigit() else 1  # Locust complains of what is no number
        try:
            check_scenario_below(request.form.get("scenario", "").strip(), scenarios)
            if leader.running:
                leader.check_change(options, users)
                leader.expect(users)
                answer = original()
                environment.host = target
                return answer
            chosen = leader.check(options, users)
        except InputError as error:
            return refuse("; ".join(map(str, error.problems)))
        if not _workers_there(environment, local_workers):
            return refuse("No worker is connected: start `loadgen locust-worker`, or Locust without --master.")
        answer = original()
        environment.host = target
        # Nothing has run since: the greenlet that starts users is only about to.
        leader.prepare(chosen)
        return answer

    return swarm


def _guard_classes(environment: Environment, original: Callable[[], Any]) -> Callable[[], Any]:
    """Locust's view that changes a user class. By itself it sets whatever attribute of the class a request names."""

    def change() -> Any:
        settings = request.get_json(force=True, silent=True)
        classes = environment.available_user_classes or {}
        if not isinstance(settings, dict) or (user := classes.get(str(settings.get("user_class_name")))) is None:
            return Response("expected settings of a user class\n", status=400, content_type="text/plain")
        if others := sorted(settings.keys() - user.json().keys() - {"user_class_name"}):
            text = f"no settings of a user class: {', '.join(map(shown, others))}\n"
            return Response(text, status=400, content_type="text/plain; charset=utf-8")
        return original()

    return change


def _workers_there(environment: Environment, wanted: int) -> bool:
    runner = environment.runner
    assert isinstance(runner, MasterRunner)
    deadline = time.monotonic() + _WORKERS_S
    while runner.worker_count < wanted and time.monotonic() < deadline:
        gevent.sleep(0.05)
    return runner.worker_count > 0


def _durations(result: RunResult) -> list[dict[str, object]]:
    return [
        {"name": name, "count": m.count}
        | {
            key: _unbroken(shown_ns(value))
            for key, value in (
                ("p50", m.p50),
                ("p90", m.p90),
                ("p95", m.p95),
                ("p99", m.p99),
                ("p999", m.p99_9),
                ("max", m.max),
            )
        }
        for name, m in result.metrics.items()
        if m.count
    ]


def _unbroken(figure: str) -> str:
    """A figure that a narrow column keeps in one line."""
    return figure.replace(" ", "\N{NO-BREAK SPACE}")


def _counts(result: RunResult) -> list[dict[str, object]]:
    return [
        {"name": name, "count": count, "meaning": COUNTERS.get(name, "")}
        for name, count in result.counters.items()
        if count
    ]


def _health(result: RunResult) -> list[dict[str, object]]:
    words = (result.verdict.generator, together("; ".join(result.verdict.reasons)))
    whole: dict[str, object] = {"name": " all", "verdict": ": ".join(filter(None, words))}
    return [
        whole,
        *(
            {
                "name": w.worker,
                "verdict": judge([w], MachineHealth(), {}).generator,
                "cpu": _unbroken(f"{100 * w.load_share:.0f} %"),
                "lag": _unbroken(shown_ns(w.lag_p99_ns or None)),
                "stall": _unbroken(shown_ns(w.longest_stall_ns)),
                "shortfall": w.own_shortfall,
            }
            for w in result.workers
        ),
    ]
