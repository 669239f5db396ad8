from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.services.account import Account, choose_account

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@as_root
def test_root_starts_servers_as_somebody_else():
    """Postgres refuses to be root; the account exists already."""
    account = choose_account()
    assert account.other
    assert account.uid != 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root runs servers as another user")
def test_an_ordinary_user_starts_servers_as_himself():
    """Nothing is handed over."""
    assert choose_account() == Account(
        name=choose_account().name, uid=os.geteuid(), gid=os.getegid(), other=False
    )


@as_root
def test_a_user_id_without_an_entry_is_told_what_to_do():
    """initdb would fail with a message about an effective user id."""
    code = (
        "import os, sys; sys.path[:0] = sys.argv[1:]\n"
        "from gate.services.account import choose_account\n"
        "from gate.errors import EnvironmentFailure\n"
        "os.setgid(31337); os.setuid(31337)\n"
        "try: choose_account()\n"
        "except EnvironmentFailure as error: print(error.message, '|', error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True, cwd="/"
    )
    assert "user id 31337 has no entry" in done.stdout
    assert "--services docker" in done.stdout


def test_a_closed_directory_anywhere_above_keeps_another_user_out(tmp_path):
    """Every directory up to the root must let him in."""
    stranger = Account(name="stranger", uid=2**31, gid=2**31, other=True)
    tmp_path.chmod(0o711)
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o700)
    assert not stranger.can_reach(inner / "file")
    inner.chmod(0o711)
    assert stranger._can_enter(inner)
    assert Account(name="me", uid=os.getuid(), gid=0, other=False).can_reach(inner / "file")
