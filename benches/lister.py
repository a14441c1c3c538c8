"""A server of as much of S3's protocol as a plan's client speaks, for measuring listings: names and small objects in memory.

`POST /strew` adds empty objects to the bucket, of the names in its body. Nothing is signed or checked: it is for the loopback alone.
"""

import bisect
import hashlib
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

PAGE = 1000
objects, names, lock = {}, [], Lock()


def put(name, body):
    if name not in objects:
        bisect.insort(names, name)
    objects[name] = (body, hashlib.md5(body).hexdigest())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def name(self):
        path = urlsplit(self.path)
        _, _, name = unquote(path.path).lstrip("/").partition("/")
        return name, parse_qs(path.query, keep_blank_values=True)

    def do_POST(self):
        path = urlsplit(self.path)
        body = self.body()
        if path.path == "/strew":
            with lock:
                for name in body.decode().split():
                    objects[name] = (b"", "d41d8cd98f00b204e9800998ecf8427e")
                    names.append(name)
                names.sort()
            return self.answer(200)
        if "delete" in parse_qs(path.query, keep_blank_values=True):
            gone = [unescape(key) for key in re.findall("<Key>([^<]*)</Key>", body.decode())]
            with lock:
                for name in gone:
                    if objects.pop(name, None):
                        names.remove(name)
            told = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in gone)
            return self.answer(200, f"<DeleteResult>{told}</DeleteResult>".encode())
        return self.answer(501)

    def do_PUT(self):
        name, _ = self.name()
        body = self.body()
        with lock:
            held = objects.get(name)
            if self.headers.get("If-None-Match") == "*" and held:
                return self.answer(412)
            wanted = self.headers.get("If-Match")
            if wanted and (not held or held[1] != wanted.strip('"')):
                return self.answer(412)
            put(name, body)
            return self.answer(200, ETag=f'"{objects[name][1]}"')

    def do_DELETE(self):
        name, _ = self.name()
        with lock:
            if objects.pop(name, None):
                names.remove(name)
        self.answer(204)

    def do_GET(self):
        name, query = self.name()
        if not name:
            if "uploads" in query:
                return self.answer(200, b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
            if "list-type" in query or "prefix" in query:
                return self.listed(query)
            return self.answer(404, b"<Error><Code>NoSuchConfiguration</Code></Error>")
        held = objects.get(name)
        if not held:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        body, tag = held
        headers = {"ETag": f'"{tag}"', "Last_Modified": "Fri, 20 Nov 2026 02:30:00 GMT"}
        wanted = self.headers.get("Range")
        if not wanted or not body:
            return self.answer(200, body, **headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if begin >= len(body):
            return self.answer(416)
        return self.answer(206, body[begin : end + 1], Content_Range=f"bytes {begin}-{end}/{len(body)}", **headers)

    do_HEAD = do_GET

    def listed(self, query):
        get = lambda word: query.get(word, [""])[0]
        prefix, delimiter = get("prefix"), get("delimiter")
        after = get("continuation-token") or get("start-after")
        most = min(int(get("max-keys") or PAGE), PAGE)
        found, folders, last, more = [], [], "", False
        with lock:
            at = bisect.bisect_right(names, after) if after >= prefix else bisect.bisect_left(names, prefix)
            while at < len(names) and names[at].startswith(prefix):
                if len(found) + len(folders) == most:
                    more = True
                    break
                name = names[at]
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    folder = prefix + rest.split(delimiter)[0] + delimiter
                    last = folder + "\U0010ffff"
                    folders.append(folder)
                    at = bisect.bisect_left(names, last)
                    continue
                found.append((name, len(objects[name][0]), objects[name][1]))
                last = name
                at += 1
        parts = [
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-20T02:30:00.000Z</LastModified>"
            f"<ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size></Contents>"
            for name, size, tag in found
        ]
        parts += [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders]
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        head = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated><KeyCount>{len(parts)}</KeyCount>{token}"
        text = f'<?xml version="1.0"?><ListBucketResult><Name>buck</Name>{head}{"".join(parts)}</ListBucketResult>'
        self.answer(200, text.encode(), Content_Type="application/xml")


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
