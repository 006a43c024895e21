"""A mail as an OpenTelemetry trace, and its way to a back end.

- identity.py: the IDs of traces and spans, computed from the log
- spans.py: mails to spans (record.py); attempts.py: what was one transaction; attributes.py: what spans say;
  moments.py: when they began and ended
- encode.py: spans to OTLP requests
- endpoint.py: where to; client.py: what becomes of a request, over gRPC (rpc.py) or HTTP (http.py)
"""
