"""An S3 server on loopback for the tests: moto, in a process of its own.

Prints its port, and ends when its standard input does, so that it never outlives the test. Every
request that names an upload which does not exist is answered as S3 answers it, with NoSuchUpload:
moto 5 forgets that in two places.
"""

import os
import sys
import threading

try:
    from moto.s3.exceptions import NoSuchUpload
    from moto.s3.models import S3Backend
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server
except ImportError as missing:
    print(f"missing: {missing}", flush=True)
    sys.exit()


def refusing_unknown_uploads(name):
    original = getattr(S3Backend, name)

    def checked(self, bucket_name, multipart_id, *args, **kwargs):
        if multipart_id not in self.get_bucket(bucket_name).multiparts:
            raise NoSuchUpload(upload_id=multipart_id)
        return original(self, bucket_name, multipart_id, *args, **kwargs)

    setattr(S3Backend, name, checked)


for name in ("upload_part", "complete_multipart_upload"):
    refusing_unknown_uploads(name)

server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(server.server_port, flush=True)
sys.stderr = open(os.devnull, "w")
server.serve_forever()
