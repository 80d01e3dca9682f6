"""The store: any cut of the file continues, nothing lost, nothing twice; full disks; changed settings."""
import errno
import json
import os
import resource
import subprocess
import sys
import unittest
from unittest import mock

from lab.store import Store, encode, read_store
from support import ROOT, Case

IDENTITY = {"program": {"sha256": "a"}, "setting": {"threads": 1}}
RECORDS = [{"g": 0, "k": "point", "s": 1, "i": i, "text": "ä \u2028 \ud800 \n" * i} for i in range(4)]


class Cuts(Case):
    def test_cut_at_every_byte_it_goes_on_with_what_was_whole(self):
        path = self.folder / "s.jsonl"
        with Store(path, IDENTITY) as store:
            store.append(RECORDS)
        whole = path.read_bytes()
        ends = [0]
        for line in whole.split(b"\n")[:-1]:
            ends.append(ends[-1] + len(line) + 1)
        for cut in range(len(whole) + 1):
            path.write_bytes(whole[:cut])
            kept = max(i for i, end in enumerate(ends) if end <= cut)
            with Store(path, IDENTITY) as store:
                self.assertEqual(store.records, RECORDS[:max(kept - 1, 0)], cut)
                store.append(RECORDS[max(kept - 1, 0):])
            self.assertEqual(path.read_bytes(), whole, cut)

    def test_a_broken_record_in_the_middle_is_no_cut(self):
        path = self.folder / "s.jsonl"
        with Store(path, IDENTITY) as store:
            store.append(RECORDS)
        for junk in (b"{\n", b"[1]\n"):
            path.write_bytes(encode({"weir_lab": 1, "identity": IDENTITY}) + junk + encode(RECORDS[0]))
            with self.refused("s.jsonl:2:"):
                Store(path, IDENTITY)
            with self.refused("s.jsonl:2:"):
                read_store(path)

    def test_another_file_is_never_taken_for_a_store(self):
        path = self.file("notes.jsonl", '{"prompt": "dear"}\n')
        with self.refused("notes.jsonl:1:", "no store"):
            Store(path, IDENTITY)
        with self.refused("no store"):
            read_store(path)
        with self.refused("no such store"):
            read_store(self.folder / "none.jsonl")
        self.assertEqual(path.read_text(), '{"prompt": "dear"}\n')

    def test_neither_fresh_nor_a_missing_newline_drops_another_file(self):
        for text in ("dear", "dear\nwords\n", '{"prompt": "dear"}\n', "\n"):
            for fresh in (False, True):
                path = self.file("notes.txt", text)
                with self.refused("notes.txt:1:", "no store"):
                    Store(path, IDENTITY, fresh=fresh)
                self.assertEqual(path.read_text(), text)


class Settings(Case):
    def test_what_changed_is_named_and_fresh_starts_over(self):
        path = self.folder / "s.jsonl"
        with Store(path, IDENTITY) as store:
            store.append(RECORDS)
        for change, parts in (({"program": {"sha256": "b"}}, ("program.sha256", "was a, is b")),
                              ({"setting": {"threads": 1, "flags": []}}, ("setting.flags", "new")),
                              ({"setting": {}}, ("setting.threads", "old"))):
            with self.refused(*parts, "--fresh"):
                Store(path, {**IDENTITY, **change})
        with Store(path, {**IDENTITY, "program": {"sha256": "b"}}, fresh=True) as store:
            self.assertEqual(store.records, [])
        self.assertEqual(read_store(path)[1], [])

    def test_two_processes_do_not_share_it(self):
        path = self.folder / "s.jsonl"
        with Store(path, IDENTITY):
            with self.refused("another run"):
                Store(path, IDENTITY)
        Store(path, IDENTITY).close()


class Failures(Case):
    def test_a_write_that_fails_half_way_leaves_a_valid_store(self):
        path = self.folder / "s.jsonl"
        store = Store(path, IDENTITY)
        store.append(RECORDS[:1])
        written = os.write(store._fd, encode(RECORDS[1])[:10])
        with mock.patch("os.write", side_effect=[written, OSError(errno.ENOSPC, "No space left on device")]):
            with self.refused("no room left", "run the same command again"):
                store.append(RECORDS[1:])
        store.append(RECORDS[1:])
        store.close()
        self.assertEqual(read_store(path)[1], RECORDS)

    def test_an_interrupt_in_the_middle_leaves_what_was_before(self):
        path = self.folder / "s.jsonl"
        with Store(path, IDENTITY) as store, mock.patch("lab.store.SYNC_SECONDS", -1.0):
            store.append(RECORDS[:1])
            with mock.patch("os.fsync", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
                store.append(RECORDS[1:])
            self.assertEqual(read_store(path)[1], RECORDS[:1])
            store.append(RECORDS[1:])
        self.assertEqual(read_store(path)[1], RECORDS)

    def test_a_doubled_answer_is_no_report(self):
        path = self.folder / "s.jsonl"
        with Store(path, IDENTITY) as store:
            store.append([*RECORDS, RECORDS[2]])
        with self.refused("s.jsonl", "two answers for point, seed 1, prompt 2"):
            read_store(path)

    def test_a_limit_on_the_files_size_is_met_in_a_real_process(self):
        path = self.folder / "s.jsonl"
        program = ("from lab.store import Store\nfrom lab.errors import LabError\nfrom pathlib import Path\n"
                   f"s = Store(Path({str(path)!r}), {IDENTITY!r})\n"
                   "try:\n    for i in range(100): s.append([{'i': i, 'text': 'x' * 100}])\n"
                   "except LabError as e: print(e)\n")
        done = subprocess.run([sys.executable, "-c", program],
                              env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
                              capture_output=True, text=True, check=True)
        self.assertIn("no room left", done.stdout)
        records = read_store(path)[1]
        self.assertGreater(len(records), 3)
        self.assertEqual([r["i"] for r in records], list(range(len(records))))
        with Store(path, IDENTITY) as store:
            self.assertEqual(store.records, records)
        self.assertEqual(len(path.read_bytes()), sum(len(encode(r)) for r in records) +
                         len(encode({"weir_lab": 1, "identity": json.loads(json.dumps(IDENTITY))})))


if __name__ == "__main__":
    unittest.main()
