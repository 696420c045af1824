"""In a real browser: a run's report, in its frame on the page of the run, can load nothing and leads nowhere."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.browsing import ANSWER_MS, WIDE, drawn, tool_running
from tests.support.logged_trainings import log_comparison

pytestmark = pytest.mark.full


def test_a_report_leads_nowhere(
    chromium: Any, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere, tool_running(environment, tmp_path) as address:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{elsewhere.server_port}"
        monkeypatch.chdir(tmp_path)  # its artifacts go where it is
        monkeypatch.setenv("MLFLOW_TRACKING_URI", environment["MLFLOW_TRACKING_URI"])
        mlflow.set_tracking_uri(environment["MLFLOW_TRACKING_URI"])
        run_id = log_comparison(
            "links",
            f"<img src={where}/image><script>fetch('{where}/script')</script>"
            f"<meta http-equiv=refresh content='0;url={where}/refresh'>"
            + "".join(f"<p><a target={name} href={where}/{name}>{name}</a>" for name in ("_blank", "_top", "_self")),
        )
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        page = chromium.new_page(viewport=WIDE)
        page.goto(f"{address}/run?run={run_id}")
        drawn(page)
        report = page.frame_locator("iframe[title='Report reports/comparison.html']")
        for name in ("_blank", "_top", "_self"):
            report.get_by_role("link", name=name).click()
        report.get_by_text("blocked").first.wait_for(state="attached", timeout=ANSWER_MS)  # the browser says so
        page.get_by_role("link", name="All runs").first.click()
        drawn(page)
        page.close()
        elsewhere.shutdown()
    assert not asked
