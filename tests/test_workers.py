"""Worker processes: what they run, what they raise, and whose code they find."""

import os
import sys
from pathlib import Path

import pytest

from jetexp.errors import JetexpError
from jetexp.jets.production import _clear_remains
from jetexp.workers import finished_tasks


def write_at(folder, task):
    (Path(folder) / str(task)).write_text("made")


def kill_this_worker():
    os._exit(9)


def ended(function, arguments, number=1, workers=1, **options):
    coming = list(range(number))
    return list(
        finished_tasks(
            function, lambda running: coming.pop(0) if coming else None, arguments, workers, **options
        )
    )


def test_every_task_ends_once_and_someone_may_look_meanwhile(tmp_path):
    looks = []
    tasks = ended(
        write_at, lambda task: (str(tmp_path), task), 3, 2, meanwhile=lambda: looks.append(len(looks))
    )
    assert sorted(task for task, _ in tasks) == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    assert looks


def test_what_a_task_raises_is_kept_for_who_asks():
    ((_, future),) = ended(int, lambda task: ("no number",))
    with pytest.raises(ValueError, match="no number"):
        future.result()


def test_a_worker_that_is_killed_is_told():
    with pytest.raises(JetexpError, match="killed"):
        ended(kill_this_worker, lambda task: ())


def test_workers_find_this_jetexp_though_a_models_copy_stands_first_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "jetexp").mkdir()
    for name in ("__init__.py", "workers.py"):
        (tmp_path / "jetexp" / name).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = [*sys.path]
    ((_, future),) = ended(_clear_remains, lambda task: (tmp_path,))
    assert future.result() is None
    assert sys.path == before
