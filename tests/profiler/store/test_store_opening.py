import os
import socket
import sqlite3
import sys
from contextlib import closing

import pytest

from profiler.errors import StoreError
from profiler.store import Store, engine, migrations, sqlite_file
from tests.factories import measurement


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_place_is_the_argument_then_the_variable_then_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("SIZEUP_STORE", raising=False)
    with Store.open() as store:
        assert store.location == str(tmp_path / "data" / "sizeup" / "measurements.db")
    monkeypatch.setenv("SIZEUP_STORE", "")
    with Store.open(must_exist=True) as store:
        assert store.location == str(tmp_path / "data" / "sizeup" / "measurements.db")
    monkeypatch.setenv("SIZEUP_STORE", str(tmp_path / "said.db"))
    with Store.open() as store:
        assert store.location == str(tmp_path / "said.db")
    with Store.open(tmp_path / "given.db") as store:
        assert store.location == str(tmp_path / "given.db")


def test_a_path_may_be_relative_at_home_or_a_sqlite_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for location, path in {
        "a.db": "a.db",
        "~/b.db": "home/b.db",
        "sqlite:///c.db": "c.db",
        f"sqlite:///{tmp_path}/d.db": "d.db",
        "deep/er/odd #%3f name?.db": "deep/er/odd #%3f name?.db",
    }.items():
        with Store.open(location) as store:
            assert store.location == str(tmp_path / path)
            store.add(measurement())
        with Store.open(location, must_exist=True) as store:
            assert store.info().measurements == 1
        assert (tmp_path / path).is_file()


def test_a_link_is_the_store_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "m.db")
    with Store.open(tmp_path / "link.db") as store, Store.open(tmp_path / "real" / "m.db") as same:
        store.add(measurement())
        assert store.location == same.location
        assert store.info() == same.info()
    assert {file.name for file in tmp_path.iterdir()} == {"real", "link.db"}
    (tmp_path / "loop.db").symlink_to(tmp_path / "loop.db")
    with pytest.raises(StoreError, match=r"loop\.db"):
        Store.open(tmp_path / "loop.db")


def test_a_new_store_uses_a_write_ahead_log_and_leaves_one_file(path):
    with Store.open(path) as store:
        store.add(measurement())
    assert list(files_of(path.parent)) == [path.name]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert path.read_bytes()[68:72] == b"size"


@pytest.mark.parametrize("must_exist", [False, True])
def test_an_empty_file_is_a_new_store(path, must_exist):
    path.touch()
    with Store.open(path, must_exist=must_exist) as store:
        store.add(measurement())
        assert store.info().measurements == 1


def test_a_store_that_must_exist_is_not_made(path):
    with pytest.raises(StoreError, match=f"there is no store at {path}"):
        Store.open(path, must_exist=True)
    assert files_of(path.parent) == {}


def write_text(path):
    path.write_text("metric,value\nloss,3\n")


def write_half_a_header(path):
    path.write_bytes(b"SQLite format 3\0")


def write_other_tables(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE measurements (id); INSERT INTO measurements VALUES (1);")


def write_other_tables_in_wal(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        write_other_tables(path)


def write_no_tables(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")


def write_damaged(path):
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 32)


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (write_text, "is not a store: it is not a SQLite database"),
        (write_half_a_header, "is not a store: it is not a SQLite database"),
        (write_other_tables, "is a SQLite database of something else"),
        (write_other_tables_in_wal, "is a SQLite database of something else"),
        (write_no_tables, "is a SQLite database of something else"),
        (write_damaged, "is a SQLite database of something else"),
    ],
)
def test_a_file_that_is_something_else_is_refused_and_left_as_it_was(path, write, complaint):
    write(path)
    before, time_before = files_of(path.parent), path.stat().st_mtime_ns
    with pytest.raises(StoreError, match=complaint):
        Store.open(path)
    assert files_of(path.parent) == before
    assert path.stat().st_mtime_ns == time_before


def test_a_database_of_another_that_is_in_use_is_left_as_it_was(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (id)")
        before = files_of(path.parent)
        with pytest.raises(StoreError, match="of something else"):
            Store.open(path)
        assert files_of(path.parent) == before


def test_a_store_of_a_newer_sizeup_is_refused_and_left_as_it_was(path):
    Store.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO sizeup_migrations VALUES ('add_everything', '2030-01-01')")
    before = files_of(path.parent)
    with pytest.raises(StoreError, match=r"newer sizeup \(it has add_everything\); update sizeup"):
        Store.open(path)
    assert files_of(path.parent) == before


def test_a_damaged_store_says_so(path):
    with Store.open(path) as store:
        store.add_many([measurement(repeat=repeat) for repeat in range(1, 200)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = path.read_bytes()
    with pytest.raises(StoreError, match=f"the store {path} is damaged"), Store.open(path) as store:
        store.rows()
    assert path.read_bytes() == damaged


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"is a folder; a store is a file, such as .*measurements\.db"):
        Store.open(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="is not a file"):
        Store.open(tmp_path / "pipe")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="a part of that path is a file"):
        Store.open(tmp_path / "file" / "store.db")
    with pytest.raises(StoreError, match="file name too long"):
        Store.open(tmp_path / ("x" * 300))
    with pytest.raises(StoreError, match="is not the path of a store"):
        Store.open("a\0b")
    with pytest.raises(StoreError, match="is not the path of a store"):
        Store.open("")
    with pytest.raises(StoreError, match="home folder of a user that does not exist"):
        Store.open("~nobody-has-this-name/x.db")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("oracle9i://host/db", "unknown kind of database 'oracle9i'"),
        ("postgresql+nodriver://host/db", r"unknown kind of database 'postgresql\+nodriver'"),
        ("mysql+mysqldb://host/db", "needs the Python package MySQLdb, which is not installed"),
        ("://x", "not one that SQLAlchemy reads"),
        ("postgresql://me:secret@host:port/db", "not one that SQLAlchemy reads"),
        ("sqlite://", "a SQLite store is a file"),
        ("sqlite:///:memory:", "a SQLite store is a file"),
        ("sqlite:///a.db?mode=ro", "a SQLite store is a file"),
        ("sqlite+aiosqlite:///a.db", "a SQLite store is a file"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_without_its_password(url, complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(StoreError, match=complaint) as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_one_sentence_without_its_password():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        port = taken.getsockname()[1]
        with pytest.raises(StoreError, match="cannot reach the store postgresql") as caught:
            Store.open(f"postgresql+psycopg://me:secret@127.0.0.1:{port}/db")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_store_that_stays_locked_is_one_sentence(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    with Store.open(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is in use: another process kept it locked"):
            store.add(measurement())
        assert store.rows() == []
        other.execute("ROLLBACK")
        store.add(measurement())
        assert len(store.rows()) == 1


def test_a_new_store_that_another_process_holds_is_one_sentence(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    path.touch()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="is in use"):
            Store.open(path)


def test_switching_to_the_log_waits_for_another_process(path, monkeypatch):
    Store.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(engine.time, "sleep", lambda seconds: other.in_transaction and other.rollback())
        with Store.open(path) as store:
            store.add(measurement())
    with closing(sqlite3.connect(path)) as fresh:
        assert fresh.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_store_that_cannot_be_written_can_be_read(folder_of_another, give_up_rights):
    path = folder_of_another / "m.db"
    row = measurement()
    with Store.open(path) as store:
        store.add(row)
    give_up_rights()
    with Store.open(path, must_exist=True) as store:
        assert not store.is_writable
        assert list(store.measurements()) == [row]
        assert len(store.frame()) == store.info().measurements == 1
        assert store.prune(outcomes=["ok"], dry_run=True) == 1
        for write in (lambda: store.add(row), lambda: store.prune(outcomes=["ok"])):
            with pytest.raises(StoreError, match=f"the store {path} can only be read"):
                write()
    assert [file.name for file in folder_of_another.iterdir()] == ["m.db"]


def test_a_store_that_another_user_is_writing_can_be_read(folder_of_another, give_up_rights):
    path = folder_of_another / "m.db"
    with Store.open(path) as writer:
        writer.add(measurement(message="only in the log yet"))
        give_up_rights()
        with Store.open(path) as store:
            assert [row.message for row in store.measurements()] == ["only in the log yet"]


def test_unfinished_writes_are_not_passed_over(folder_of_another, give_up_rights, tmp_path):
    path = folder_of_another / "m.db"
    with Store.open(tmp_path / "m.db") as store:
        store.add(measurement())
        for name in ("m.db", "m.db-wal"):  # as a killed process leaves them on another machine
            (folder_of_another / name).write_bytes((tmp_path / name).read_bytes())
    give_up_rights()
    with pytest.raises(StoreError, match=r"has unfinished writes in m\.db-wal"):
        Store.open(path)


def test_an_unwritable_folder_or_empty_file_is_one_sentence(folder_of_another, give_up_rights):
    (folder_of_another / "empty.db").touch()
    give_up_rights()
    with pytest.raises(StoreError, match="it cannot be written"):
        Store.open(folder_of_another / "new.db")
    with pytest.raises(StoreError, match="permission denied"):
        Store.open(folder_of_another / "deeper" / "new.db")
    with pytest.raises(StoreError, match="is empty and cannot be written"):
        Store.open(folder_of_another / "empty.db")


def test_a_file_that_cannot_be_read_is_one_sentence(folder_of_another, give_up_rights):
    path = folder_of_another / "m.db"
    Store.open(path).close()
    if os.getuid() == 0:
        give_up_rights()
        os.seteuid(0)
        path.chmod(0)
        os.seteuid(65534)
    else:
        path.chmod(0)
    with pytest.raises(StoreError, match=f"cannot open the store {path}: permission denied"):
        Store.open(path)


def test_an_old_store_says_what_to_do(folder_of_another, give_up_rights, monkeypatch):
    path = folder_of_another / "m.db"
    Store.open(path).close()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, test_an_old_store_says_what_to_do))
    give_up_rights()
    with pytest.raises(StoreError, match="written by an older sizeup and cannot be written here"):
        Store.open(path)
