"""Whether the wheelkeep of this container answers: the image's HEALTHCHECK.

It is asked where its settings say that it listens. An answer that asks for a token is one.
"""

import ssl
import sys
import urllib.error
import urllib.request

from proxy.settings import load

server = load().server
# The certificate is for the name that clients use, and not for this address.
trusting = ssl.create_default_context()
trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
try:
    urllib.request.urlopen(
        f"{server.scheme}://127.0.0.1:{server.port}/healthz", timeout=2, context=trusting
    )
except urllib.error.HTTPError as problem:
    sys.exit(problem.code != 401)
