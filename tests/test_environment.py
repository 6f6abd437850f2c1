"""The report of what the course runs on, and the package's front door."""

import platform
import types

import psutil
import pytest
import torch

import course_lib
from course_lib import environment


def test_report_names_versions_memory_cores_and_device():
    rows = environment.report()
    assert rows["Python"] == platform.python_version()
    assert rows["torch"] == torch.__version__
    assert set(environment.PACKAGES) < set(rows)
    assert rows["memory"].startswith(f"{psutil.virtual_memory().total / 2**30:.0f} GiB")
    assert int(rows["cores"]) >= 1 and rows["device"]


def test_report_warns_of_little_memory(monkeypatch):
    memory = types.SimpleNamespace(total=4 * 2**30, available=2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert environment.report()["memory"].endswith("so close other kernels")


def test_where_installed_names_no_directory(tmp_path, monkeypatch):
    assert course_lib.where_installed() == "course_lib comes from this copy of the course"
    monkeypatch.setattr(course_lib, "__file__", str(tmp_path / "course_lib" / "__init__.py"))
    assert (
        course_lib.where_installed() == f"course_lib {course_lib.__version__} is installed in this Python environment"
    )


@pytest.mark.parametrize("name", course_lib.__all__)
def test_every_public_name_is_there(name):
    assert getattr(course_lib, name) is not None and name in dir(course_lib)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        course_lib.nothing  # noqa: B018 - the look-up itself is tested
