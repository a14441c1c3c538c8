#!/usr/bin/env python3
"""How long the language server takes to answer on a plan of 2,000 lines: `benches/lsp.py PLAN_PROGRAM`.

Drives `plan lsp` over its real protocol. Before every question a line of the text is changed, as a typing person does,
so that no answer comes from what was parsed before. Prints the median and the worst of each question, in milliseconds.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 40


def plan() -> str:
    lines = ["plan large", "", 'store local: dir {', '  path = "/backup"', "}", ""]
    for n in range(282):
        lines += [
            f"let data{n} = \"/srv/{n}\"",
            f"source s{n}: files {{",
            f'  paths          = ["${{data{n}}}/site"]',
            '  exclude        = ["*.tmp"]',
            "  exclude_caches = true",
            "}",
            "",
        ]
    lines += ["archive main {", "  from = all", "  to   = [local]", "}", "keep { cycles = 2 }", "cycle { incrementals = 4 }"]
    return "\n".join(lines) + "\n"


class Server:
    def __init__(self, program: str):
        self.child = subprocess.Popen([program, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.id = 0
        self.answered = 0.0

    def send(self, message: dict) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.child.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.child.stdin.flush()

    def receive(self) -> dict:
        length = 0
        while line := self.child.stdout.readline().strip():
            length = int(line.split(b":")[1]) if line.startswith(b"Content-Length") else length
        body = self.child.stdout.read(length)
        # What it costs this script to read the answer is not the server's.
        self.answered = time.perf_counter()
        return json.loads(body)

    def ask(self, method: str, params: dict | None):
        self.id += 1
        self.send({"id": self.id, "method": method, "params": params})
        while (answer := self.receive()).get("id") != self.id:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def tell(self, method: str, params: dict) -> None:
        self.send({"method": method, "params": params})


def main() -> None:
    text = plan()
    line = text.count("\n") // 2
    while not text.splitlines()[line].startswith("source"):
        line += 1
    with tempfile.TemporaryDirectory() as folder:
        uri = f"file://{folder}/large.plan"
        server = Server(sys.argv[1])
        server.ask("initialize", {"processId": None, "rootUri": f"file://{folder}", "capabilities": {}})
        server.tell("initialized", {})
        document = {"uri": uri, "languageId": "plan", "version": 1, "text": text}
        server.tell("textDocument/didOpen", {"textDocument": document})
        at = lambda line, character: {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        questions = {
            "hover": ("textDocument/hover", at(line + 3, 4)),
            "completion": ("textDocument/completion", at(line + 3, 2)),
            "definition": ("textDocument/definition", at(line + 1, 24)),
            "references": ("textDocument/references", at(line, 9) | {"context": {"includeDeclaration": True}}),
            "documentSymbol": ("textDocument/documentSymbol", {"textDocument": {"uri": uri}}),
            "formatting": ("textDocument/formatting", {"textDocument": {"uri": uri}, "options": {"tabSize": 2, "insertSpaces": True}}),
            "rename": ("textDocument/rename", at(line, 9) | {"newName": "renamed"}),
        }
        print(f"{text.count(chr(10))} lines")
        version = 1
        for name, (method, params) in questions.items():
            took = []
            for _ in range(ROUNDS):
                version += 1
                place = {"line": 2, "character": 0}
                # An empty change is a change: the text is parsed anew for the question.
                change = {"range": {"start": place, "end": place}, "text": ""}
                server.tell("textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]})
                start = time.perf_counter()
                server.ask(method, params)
                took.append((server.answered - start) * 1000)
            median = statistics.median(took)
            print(f"{name:16} median {median:6.1f} ms   worst {max(took):6.1f} ms" + ("" if median < 20 else "  MISSED"))
        server.ask("shutdown", None)
        server.tell("exit", {})
        assert server.child.wait() == 0


if __name__ == "__main__":
    main()
