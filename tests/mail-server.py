"""A mail server that wants STARTTLS and an account, and writes what it takes into a file.

Arguments: PORT CERTIFICATE KEY FILE. The account is `backup`, its password `mail-sesame`.
"""

import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    """Takes every letter that comes from an account, after the first, which it asks to be sent again."""

    def __init__(self, path):
        self.path = path
        self.seen = 0

    async def handle_DATA(self, _server, session, envelope):
        self.seen += 1
        if self.seen == 1:
            return "451 4.7.1 greylisted, come again"
        with open(self.path, "ab") as out:
            line = f"{session.auth_data} {envelope.mail_from} {' '.join(envelope.rcpt_tos)}\n"
            out.write(line.encode() + envelope.content)
        return "250 2.0.0 taken"


def account(_server, _session, _envelope, _mechanism, data):
    if (data.login, data.password) == (b"backup", b"mail-sesame"):
        return AuthResult(success=True, auth_data="backup")
    return AuthResult(success=False, handled=False)


def main():
    port, certificate, key, path = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    controller = Controller(
        Handler(path),
        hostname="127.0.0.1",
        port=int(port),
        tls_context=context,
        require_starttls=True,
        authenticator=account,
        auth_required=True,
    )
    controller.start()
    while True:
        time.sleep(60)


main()
