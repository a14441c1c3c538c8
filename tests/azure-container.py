#!/usr/bin/env python3
"""Makes a container of Azure Blob: azure-container.py http://HOST:PORT ACCOUNT KEY CONTAINER.

Signs by the account's key, as "Authorize with Shared Key" of the Blob service's REST API has it.
"""

import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.request

server, account, key, container = sys.argv[1:]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
lines = ["PUT"] + [""] * 11
lines += [f"{name}:{value}" for name, value in sorted(headers.items())]
# A server of one address has the account in its path, and once more before it.
lines += [f"/{account}/{account}/{container}", "restype:container"]
digest = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
address = f"{server}/{account}/{container}?restype=container"
urllib.request.urlopen(urllib.request.Request(address, method="PUT", headers=headers))
