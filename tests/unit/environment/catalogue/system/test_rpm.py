"""RPM's package database, and files that pretend to be one."""

import shutil
import sqlite3
import struct
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.system.rpm import MANIFEST, manifest, rpm
from lockstep.environment.catalogue.system.rpmdb import rpm_headers
from lockstep.environment.catalogue.system.rpmheader import RpmHeaderError, RpmPackage, rpm_package
from lockstep.environment.catalogue.system.sqlitelog import LogError, checksum
from lockstep.environment.catalogue.system.sqlitelog import with_log as with_write_ahead
from lockstep.environment.catalogue.system.system import system
from lockstep.training.host import HostTree
from tests.fakes.roots import Files, To, debian, tree
from tests.fakes.rpm import BASH, SCHEMA, database, entries, header, package, text, with_log

DATABASE = "/var/lib/rpm/rpmdb.sqlite"
BASH_ROW = "bash\t5.1.8-9.el9\t1\t2\tvendor\t(none)\t7\tx86_64\t0\tbash.src.rpm\n"


def read(body: bytes, **files: bytes | str) -> dict[str, str]:
    more: Files = {f"{DATABASE}-{name}": value for name, value in files.items()}
    return rpm(tree({DATABASE: body}, more))


def refused(files: Files) -> str:
    with pytest.raises(CatalogueError) as caught:
        rpm(tree(files))
    assert caught.value.reason is Reason.SYSTEM_UNVERIFIABLE
    return caught.value.message


@pytest.mark.parametrize("logged", [True, False])
def test_packages_are_read_with_their_epoch(logged: bool) -> None:
    made = [package(*BASH), package("openssl", "3.0.7", "27.el9", epoch=1), package("x", "1", "2", epoch=0)]
    assert read(database(*made, logged=logged)) == {"bash": "5.1.8-9.el9", "openssl": "1:3.0.7-27.el9", "x": "1-2"}


@pytest.mark.parametrize("folder", ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"])
def test_the_database_is_found_wherever_a_distribution_keeps_it(folder: str) -> None:
    assert rpm(tree({f"{folder}/rpmdb.sqlite": database(package(*BASH))})) == {"bash": "5.1.8-9.el9"}


def test_folders_that_are_links_to_one_another_are_one_folder() -> None:
    files: Files = {"/var/lib/rpm": To("../../usr/lib/sysimage/rpm"), "/usr/share/rpm": To("/var/lib/rpm")}
    files["/usr/lib/sysimage/rpm/rpmdb.sqlite"] = database(package(*BASH))
    assert rpm(tree(files)) == {"bash": "5.1.8-9.el9"}


def test_two_databases_are_refused() -> None:
    made = database(package(*BASH))
    assert "can't be determined" in refused({DATABASE: made, "/usr/share/rpm/rpmdb.sqlite": made})
    assert "can't be determined" in refused({DATABASE: made, MANIFEST: BASH_ROW})


def test_keys_are_no_packages() -> None:
    key = header(entries("gpg-pubkey", "8483c65d", "5ccc5b19", architecture=""))
    assert read(database(key, package(*BASH))) == {"bash": "5.1.8-9.el9"}


def test_architectures_are_kept_apart_and_versions_side_by_side_are_all_said() -> None:
    made = [package("glibc", "2.34", "1", architecture=a) for a in ("x86_64", "i686")]
    made += [package("kernel-core", "5.14", release) for release in ("2", "1", "2")]
    assert read(database(*made)) == {"glibc:x86_64": "2.34-1", "glibc:i686": "2.34-1", "kernel-core": "5.14-1, 5.14-2"}


def test_a_folder_without_database_is_nothing() -> None:
    assert rpm(tree({"/var/lib/rpm/.rpm.lock": "", "/usr/lib/rpm/macros": ""})) == {}
    assert system(tree(debian(), {"/var/lib/rpm": None}), "/usr").packages == system(tree(debian()), "/usr").packages


BESIDE: list[Files] = [{}, {DATABASE: database()}]


@pytest.mark.parametrize(("name", "form"), [("Packages", "Berkeley DB"), ("Packages.db", "ndb")])
@pytest.mark.parametrize("beside", BESIDE)
def test_formats_that_are_not_read_are_refused_and_not_taken_for_no_packages(name: str, form: str, beside: Files) -> None:
    message = refused(beside | {f"/var/lib/rpm/{name}": b"\0"})
    assert form in message
    assert "not verifiable" in message


def test_a_transaction_that_was_not_finished_is_refused() -> None:
    made = database(package(*BASH))
    assert read(made, journal=b"", wal=b"") == {"bash": "5.1.8-9.el9"}
    assert "neither finished nor undone" in refused({DATABASE: made, f"{DATABASE}-journal": b"x"})


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[bytes, bytes]:
    """A database and its log as a tool leaves them that was stopped after two transactions: bash, then more packages."""
    path = tmp_path / "rpmdb.sqlite"
    path.write_bytes(database(logged=False))
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA wal_autocheckpoint = 0")
        for blobs in ([package(*BASH)], [package(f"p{n}", "1", "x" * 400) for n in range(20)]):
            made.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in blobs])
            made.commit()
        return path.read_bytes(), (tmp_path / "rpmdb.sqlite-wal").read_bytes()


def test_what_stands_in_the_log_is_part_of_the_database(stopped: tuple[bytes, bytes]) -> None:
    body, log = stopped
    assert read(body) == {}
    found = read(body, wal=log)
    assert found["bash"] == "5.1.8-9.el9"
    assert len(found) == 21


def test_a_transaction_that_the_log_does_not_hold_in_full_does_not_count(stopped: tuple[bytes, bytes]) -> None:
    body, log = stopped
    assert read(body, wal=log[:-1]) == {"bash": "5.1.8-9.el9"}
    assert read(body, wal=log[:-10] + b"\0" * 10) == {"bash": "5.1.8-9.el9"}
    # Left over from before a checkpoint: other salts, or checksums that don't go on from those before.
    assert read(body, wal=log[:40] + b"\0\0\0\0" + log[44:]) == {}
    assert read(body, wal=log + log[32:]) == read(body, wal=log)
    assert read(body, wal=log[:32]) == {}


def test_a_log_that_is_none_or_of_another_database_is_refused(stopped: tuple[bytes, bytes]) -> None:
    body, log = stopped
    for wrong in (b"x", b"x" * 5000, log[:16] + bytes([log[16] ^ 1]) + log[17:], b"\0" * 32):
        assert "write-ahead log" in refused({DATABASE: body, f"{DATABASE}-wal": wrong})
    small = body[:16] + (512).to_bytes(2, "big") + body[18:]
    assert "another database" in refused({DATABASE: small, f"{DATABASE}-wal": log})


def test_a_log_can_not_make_a_database_larger_than_what_is_there(stopped: tuple[bytes, bytes]) -> None:
    body, log = stopped
    order = ">" if log[3] & 1 else "<"
    frame = struct.pack(">II", 1, 2**32 - 1)
    sums = checksum(body[:4096], order, checksum(frame, order, struct.unpack_from(">II", log, 24)))
    hostile = log[:32] + frame + log[16:24] + struct.pack(">II", *sums) + body[:4096]
    assert "more bytes than there are" in refused({DATABASE: body, f"{DATABASE}-wal": hostile})


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8), st.binary(max_size=100))
def test_whatever_the_bytes_of_a_log_are_they_give_a_database_or_a_refusal(at: int, change: bytes, other: bytes) -> None:
    header = struct.pack(">6I", 0x377F0682, 3007000, 4096, 0, 1, 2)
    log = header + struct.pack(">II", *checksum(header, "<", (0, 0))) + bytes(4120)
    for wrong in (other, log + other, log[:at] + change + log[at + len(change) :]):
        with suppress(LogError):
            assert with_write_ahead(SMALL, wrong) == SMALL


def test_statistics_that_sqlite_keeps_change_nothing() -> None:
    analysed = database(package(*BASH), schema=f"{SCHEMA}; CREATE TABLE Name (k TEXT); CREATE INDEX i ON Name (k)")
    with closing(sqlite3.connect(":memory:")) as made:
        made.deserialize(analysed[:18] + b"\1\1" + analysed[20:])
        made.executescript("INSERT INTO Name VALUES ('bash'); ANALYZE")
        assert made.execute("SELECT count(*) FROM sqlite_stat1").fetchone() > (0,)
        assert read(with_log(made.serialize())) == {"bash": "5.1.8-9.el9"}


HOSTILE = [
    f"CREATE TABLE t (blob); CREATE VIEW Packages AS SELECT x'{package(*BASH).hex()}' AS blob",
    "CREATE TABLE t (blob); INSERT INTO t VALUES (x'00'); CREATE VIEW Packages AS SELECT blob FROM t",
    "CREATE VIEW Packages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(i) AS blob FROM n",
    "CREATE VIRTUAL TABLE Packages USING fts5(blob)",
    "CREATE TABLE Packages (x, blob BLOB AS (zeroblob(1000000000))); INSERT INTO Packages (x) VALUES (1)",
    "CREATE TABLE Packages (x, blob BLOB AS (upper(x))); INSERT INTO Packages (x) VALUES (x'00')",
    "CREATE TABLE packages (blob); INSERT INTO packages VALUES (x'00')",
    "CREATE TABLE Packages (other)",
    "CREATE TABLE Packages (blob); INSERT INTO Packages VALUES ('text')",
    "CREATE TABLE Packages (blob); INSERT INTO Packages VALUES (NULL)",
    "CREATE TABLE Packages (blob); INSERT INTO Packages VALUES (zeroblob(20000000))",
    f"CREATE TABLE Packages (blob); CREATE TABLE t (x DEFAULT '{'x' * 70_000}')",
    f"CREATE TABLE Packages (blob); CREATE TABLE t ({', '.join(f'c{n}' for n in range(200))})",
    "CREATE TABLE t (blob)",
]


@pytest.mark.parametrize("schema", HOSTILE)
def test_a_database_that_defines_something_else_is_refused_and_nothing_of_it_is_run(schema: str) -> None:
    with closing(sqlite3.connect(":memory:")) as made:
        try:
            made.executescript(schema)
        except sqlite3.OperationalError as error:
            pytest.skip(f"this SQLite makes no such database: {error}")
        body = made.serialize()
    refused({DATABASE: body})


def test_triggers_do_not_run() -> None:
    trigger = "CREATE TABLE log (x); CREATE TRIGGER t AFTER INSERT ON Packages BEGIN INSERT INTO log VALUES (1); END"
    assert read(database(package(*BASH), schema=f"{SCHEMA}; {trigger}")) == {"bash": "5.1.8-9.el9"}


def test_an_index_with_other_values_than_the_table_is_not_read() -> None:
    honest, other = package("bash", "5.1.8", "9.el9"), package("bash", "9.9.9", "9.el9")
    body = database(honest, schema=f"{SCHEMA}; CREATE INDEX i ON Packages (blob)")
    assert body.count(honest) == 2
    for where in (body.find(honest), body.rfind(honest)):
        changed = body[:where] + other + body[where + len(honest) :]
        with closing(sqlite3.connect(":memory:")) as made:
            made.deserialize(changed[:18] + b"\1\1" + changed[20:])
            ((in_table,),) = made.execute("SELECT blob FROM Packages NOT INDEXED")
        assert read(changed) == {"bash": "9.9.9-9.el9" if in_table == other else "5.1.8-9.el9"}


def test_a_table_that_goes_in_circles_is_refused() -> None:
    body = bytearray(database(*[package("p", str(n), "x" * 400) for n in range(200)]))
    size = int.from_bytes(body[16:18], "big")
    interior = [at for at in range(size, len(body), size) if body[at] == 5]
    assert interior
    for at in interior:
        # The page's right-most child becomes the page itself.
        body[at + 8 : at + 12] = (at // size + 1).to_bytes(4, "big")
    refused({DATABASE: bytes(body)})


def test_entries_that_share_their_pages_do_not_take_more_memory_than_the_file() -> None:
    # So long that little of an entry stands in the table's only leaf, page 2, and the first one's rest from page 3 on.
    body = database(*[bytes(998_933)] * 5, schema="CREATE TABLE Packages (blob)", logged=False)
    leaf = bytearray(body[4096:8192])
    starts = sorted(int.from_bytes(leaf[8 + 2 * n : 10 + 2 * n], "big") for n in range(5))
    links = sorted(int.from_bytes(leaf[end - 4 : end], "big") for end in (*starts[1:], 4096))
    assert (leaf[0], links[0]) == (13, 3)
    for end in (*starts[1:], 4096):
        leaf[end - 4 : end] = (3).to_bytes(4, "big")
    pages = links[1] - 1
    hostile = body[:28] + pages.to_bytes(4, "big") + body[32:4096] + bytes(leaf) + body[8192 : pages * 4096]
    with pytest.raises(CatalogueError, match="more bytes than the file"):
        list(rpm_headers(hostile, DATABASE))


GARBAGE = [b"", b"\0" * 100, b"SQLite format 3\0", b"x" * 5000, database(package(*BASH))[:5000], b"\0\5\x31\x62"]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_refused(body: bytes) -> None:
    refused({DATABASE: body})


def test_a_schema_that_is_no_text_is_refused() -> None:
    body = database(package(*BASH))
    assert b"TABLE 'Packages'" in body
    refused({DATABASE: body.replace(b"TABLE 'Packages'", b"\x80ABLE 'Packages'")})


def test_a_database_that_is_no_file_is_refused() -> None:
    refused({DATABASE: None})


GOOD = package(*BASH)


@pytest.mark.parametrize("end", range(0, len(GOOD), 5))
def test_a_header_that_is_cut_off_is_refused(end: int) -> None:
    with pytest.raises(RpmHeaderError):
        rpm_package(GOOD[:end])


def index(*rows: tuple[int, int, int, int], data: bytes = b"bash\0" + b"1\0") -> bytes:
    return struct.pack(">II", len(rows), len(data)) + b"".join(struct.pack(">IIiI", *row) for row in rows) + data


NAMED = [(1000, 6, 0, 1), (1001, 6, 5, 1), (1002, 6, 5, 1)]


def test_a_header_without_region_is_read() -> None:
    assert rpm_package(index(*NAMED)) == RpmPackage("bash", "", "1-1")


@pytest.mark.parametrize(
    "blob",
    [
        index((1000, 6, -1, 1), *NAMED[1:]),
        index((1000, 6, 7, 1), *NAMED[1:]),
        index((1000, 6, 2**31 - 1, 1), *NAMED[1:]),
        index((1000, 4, 0, 1), *NAMED[1:]),
        index((1000, 8, 0, 1), *NAMED[1:]),
        index((1000, 6, 0, 2**32 - 1), *NAMED[1:]),
        index(*NAMED, (1003, 4, 4, 1)),
        index(*NAMED, (1003, 4, -4, 1)),
        index(*NAMED, (1003, 6, 0, 1)),
        index(*NAMED[:2]),
        index(*NAMED, (1001, 6, 0, 1)),
        index(*NAMED, data=b"bash\0" + b"1"),
        index(*NAMED, data=b"bash\0" + b"\0"),
        index(*NAMED, data=b"\xff\xfe\xfd\xfc\0" + b"1\0"),
        index(*NAMED, data=b"bash\0" + b"1" * 600 + b"\0"),
        index((63, 7, -16, 16), *NAMED),
        index((63, 7, 0, 16), *NAMED),
        index((63, 7, 0, 2**32 - 1), *NAMED),
        header(entries(*BASH), trailer=struct.pack(">IIiI", 63, 7, -16 * 40, 16)),
        header(entries(*BASH), trailer=struct.pack(">IIiI", 63, 7, 16, 16)),
        header(entries(*BASH), trailer=struct.pack(">IIiI", 62, 7, -16, 16)),
        header(entries(*BASH), dribbles=[text(1001, "6")]),
        struct.pack(">II", 0, 0),
        struct.pack(">II", 1_000_000, 0) + bytes(16_000_000),
        struct.pack(">II", 2**32 - 1, 2**32 - 1),
        GOOD + b"\0",
    ],
)
def test_a_malformed_header_is_refused(blob: bytes) -> None:
    with pytest.raises(RpmHeaderError):
        rpm_package(blob)
    if len(blob) < 1_000_000:
        refused({DATABASE: database(package("x", "1", "1"), blob)})


def test_a_name_that_is_none_is_refused() -> None:
    refused({DATABASE: database(package("a\x1bb", "1", "1"))})


def test_a_manifest_is_read() -> None:
    files: Files = {MANIFEST: BASH_ROW + "e\t1-2\t1\t2\tvendor\t3\t7\tnoarch\t3\te.src.rpm\n"}
    assert rpm(tree(files)) == {"bash": "5.1.8-9.el9", "e": "3:1-2"}


LINES = ["bash 5.1.8-9", BASH_ROW.replace("5.1.8-9.el9", "5"), BASH_ROW.replace("(none)", "²"), "\tx" * 9]


@pytest.mark.parametrize("line", LINES)
def test_a_malformed_manifest_is_refused(line: str) -> None:
    refused({MANIFEST: line})


@given(st.binary(max_size=300))
def test_whatever_the_bytes_of_a_header_are_they_give_a_package_or_a_refusal(body: bytes) -> None:
    for blob in (body, struct.pack(">II", len(body) // 16, len(body) % 16) + body):
        with suppress(RpmHeaderError):
            assert rpm_package(blob).name


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_header_that_was_tampered_with_gives_a_package_or_a_refusal(at: int, change: bytes) -> None:
    with suppress(RpmHeaderError):
        assert rpm_package(GOOD[:at] + change + GOOD[at + len(change) :]).name


SMALL = database(*[package("p", str(n), "x" * 300) for n in range(20)])


@given(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=8))
def test_a_database_that_was_tampered_with_gives_headers_or_a_refusal(at: int, change: bytes) -> None:
    with suppress(CatalogueError):
        assert sum(map(len, rpm_headers(SMALL[:at] + change + SMALL[at + len(change) :], DATABASE))) <= len(SMALL)


@given(st.binary(max_size=300) | st.text("\t-ab1\n", max_size=60).map(str.encode))
def test_whatever_the_bytes_of_a_manifest_are_they_give_packages_or_a_refusal(body: bytes) -> None:
    with suppress(CatalogueError):
        assert all(found.name for found in manifest(body, MANIFEST))


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpm and rpmbuild")
def test_what_rpm_itself_writes_is_read_as_rpm_reads_it(tmp_path: Path) -> None:
    spec = "Version: 1.2\nRelease: 3\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n%files\n"
    folder = tmp_path / "root/var/lib/rpm"
    folder.mkdir(parents=True)
    for name, more in (("one", ""), ("two", "Epoch: 2\n")):
        (tmp_path / f"{name}.spec").write_text(f"Name: {name}\n{more}{spec}")
        build = ["rpmbuild", "--define", f"_topdir {tmp_path}/top", "-bb", f"{tmp_path}/{name}.spec"]
        subprocess.run(build, check=True, capture_output=True)
    built = [str(path) for path in (tmp_path / "top").rglob("*.rpm")]
    subprocess.run(["rpm", "--dbpath", str(folder), "--justdb", "--nodeps", "-i", *built], check=True, capture_output=True)
    asked = ["rpm", "--dbpath", str(folder), "-qa", "--qf", "%{NAME} %{EVR}\n"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert rpm(HostTree(str(tmp_path / "root"))) == dict(line.split(" ") for line in said.splitlines())
    assert len(said.splitlines()) == 2
